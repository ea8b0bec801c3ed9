require "open3"

# Runs a keeper command, and fails with what it said when it fails.
class KeeperJob < ApplicationJob
  class Failed < StandardError; end

  # keeper is in no gem: name the program where it is not on the PATH of bin/jobs.
  PROGRAM = ENV.fetch("KEEPER", "keeper")
  CONFIG = ENV.fetch("KEEPER_CONFIG", Rails.root.join("keeper.toml").to_s)

  queue_as :default

  def perform(command)
    said, status = Open3.capture2e({ "KEEPER_CONFIG" => CONFIG }, PROGRAM, command, "--quiet")
    raise Failed, "keeper #{command}: #{status}: #{said}" unless status.success?
  end
end
