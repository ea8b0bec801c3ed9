"""recipes/kubernetes: by the published schema where it is installed; run outside of a cluster."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase, count_rows, pragma
from tests.recipes.shell_blocks import recipe, run_shell
from tests.recipes.strict_yaml import read_documents, read_yaml

KUBERNETES = recipe("kubernetes")
# The oldest version that the schema package has of those that providers still offer, and a new one.
VERSIONS = ["1.31", "1.35"]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is missing (it works without a cluster)"
)


def manifests(name: str) -> list[dict[str, Any]]:
    """The objects of a file."""
    return read_documents(KUBERNETES / name)


def the(kind: str, name: str, file: str) -> dict[str, Any]:
    """One object."""
    (found,) = (
        one for one in manifests(file) if (one["kind"], one["metadata"]["name"]) == (kind, name)
    )
    return found


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The pod that an object makes."""
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Its containers, those that come first included."""
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


APP = the("StatefulSet", "app", "application.yaml")
JOBS = manifests("cronjobs.yaml")
FLEET = the("CronJob", "keeper-fleet", "fleet.yaml")


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return read_documents(done.stdout)


def with_sidecar(folder: Path) -> Path:
    """The recipe changed as its README says for the sidecar."""
    shutil.copytree(KUBERNETES, folder)
    file = folder / "kustomization.yaml"
    text = file.read_text().replace("  - cronjobs.yaml\n", "")
    patch = "patches:\n  - path: sidecar.yaml\n"
    assert patch in (KUBERNETES / "README.md").read_text()
    file.write_text(text + patch)
    return folder


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", ["application.yaml", "cronjobs.yaml", "fleet.yaml"])
def test_manifests_follow_the_published_schema(file: str, version: str) -> None:
    """Strictly: a key that Kubernetes does not know is an error."""
    try:
        schema = import_module("kubernetes_validate")
    except ImportError:
        pytest.skip("the schema is missing: pip install kubernetes-validate (110 MB)")
    for manifest in manifests(file):
        schema.validate(manifest, version, strict=True)


@needs_kubectl
def test_kustomization_puts_the_files_together() -> None:
    """The jobs refer to the ConfigMap under the name that it is given."""
    objects = kustomize(KUBERNETES)
    kinds = sorted(one["kind"] for one in objects)
    assert kinds == ["ConfigMap", "CronJob", "CronJob", "CronJob", "StatefulSet"]
    (config,) = (one for one in objects if one["kind"] == "ConfigMap")
    assert config["data"] == {"keeper.toml": (KUBERNETES / "keeper.toml").read_text()}
    names = {
        volume["configMap"]["name"]
        for one in objects
        if one["kind"] == "CronJob"
        for volume in pod_of(one)["volumes"]
        if "configMap" in volume
    }
    assert names == {config["metadata"]["name"]}


@needs_kubectl
def test_sidecar_joins_the_pod_of_the_application(tmp_path: Path) -> None:
    """With the volume, the user and the settings that the jobs would have."""
    objects = kustomize(with_sidecar(tmp_path / "recipe"))
    (pod,) = (pod_of(one) for one in objects if one["kind"] == "StatefulSet")
    app, keeper = sorted(pod["containers"], key=lambda one: str(one["name"]))
    assert (app["name"], keeper["name"]) == ("app", "keeper")
    assert not [one for one in objects if one["metadata"]["name"] == "keeper-backup"]
    job = pod_of(JOBS[0])["containers"][0]
    for key in ("volumeMounts", "envFrom", "securityContext", "image"):
        assert keeper[key] == job[key]
    mounted = {mount["name"] for mount in keeper["volumeMounts"]}
    declared = {volume["name"] for volume in pod["volumes"]} | {"storage"}
    assert mounted == declared


def test_kustomization_names_files_that_are_there() -> None:
    """Without kubectl, as far as that goes."""
    settings = read_yaml(KUBERNETES / "kustomization.yaml")
    (config,) = settings["configMapGenerator"]
    assert all((KUBERNETES / name).is_file() for name in settings["resources"] + config["files"])
    wanted = {volume["name"]: volume for volume in pod_of(JOBS[0])["volumes"]}
    assert wanted["config"]["configMap"]["name"] == config["name"]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: str(job["metadata"]["name"]))
def test_job_runs_beside_the_application_as_its_user(job: dict[str, Any]) -> None:
    """On the same node, on the same volume, and never twice at a time."""
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod, app = pod_of(job), pod_of(APP)
    assert pod["securityContext"] == app["securityContext"]
    (affinity,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["topologyKey"] == "kubernetes.io/hostname"
    pod_name = f"{APP['metadata']['name']}-0"
    assert affinity["labelSelector"]["matchLabels"] == {
        "statefulset.kubernetes.io/pod-name": pod_name
    }
    (claim,) = (volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume)
    (template,) = APP["spec"]["volumeClaimTemplates"]
    assert claim["persistentVolumeClaim"]["claimName"] == (
        f"{template['metadata']['name']}-{pod_name}"
    )
    assert template["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize(
    "manifest", [APP, *JOBS, FLEET], ids=lambda one: str(one["metadata"]["name"])
)
def test_pods_are_locked_down_and_mount_what_they_declare(manifest: dict[str, Any]) -> None:
    """No root, no privileges, no token; and a folder for everything that is written."""
    pod = pod_of(manifest)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    templates = manifest["spec"].get("volumeClaimTemplates", [])
    declared = {volume["name"] for volume in pod.get("volumes", [])}
    declared |= {template["metadata"]["name"] for template in templates}
    for container in containers(pod):
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= declared
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        places = {mount["mountPath"] for mount in container["volumeMounts"]}
        if container["name"] == "keeper":
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "/tmp" in places


# Run outside of a cluster


def environment(home: Path) -> dict[str, str]:
    """What the image and the Secret give, for a user without a home."""
    return {"KEEPER_STATE": str(home / ".keeper"), "HOME": "/nonexistent", "TMPDIR": str(home)}


def run_container(container: dict[str, Any], storage: Path, config: Path | None) -> str:
    """Run a container's command with /storage and /etc/keeper where the test has them."""
    words = [word.replace("/storage", str(storage)) for word in container["command"]]
    where = {"KEEPER_CONFIG": str(config)} if config else {}
    command = "exec " + " ".join(f"'{word}'" for word in words)
    done = run_shell(command, storage.parent, env=environment(storage) | where)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_of_the_manifests_do_their_work(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """From the init container to the fleet's view of the backup."""
    storage = tmp_path / "storage"
    storage.mkdir()
    config = tmp_path / "keeper.toml"
    text = (KUBERNETES / "keeper.toml").read_text().replace("/storage", str(storage))
    config.write_text(text.replace("[backup]", f'[backup]\nstaging = "{storage}"'))
    (init,) = pod_of(APP)["initContainers"]

    run_container(init, storage, None)
    path = storage / "production.sqlite3"
    assert pragma(path, "auto_vacuum") == 2
    path.unlink()
    make_database("storage/production.sqlite3", rows=6000, deleted=5000)
    run_container(init, storage, None)
    free = pragma(path, "freelist_count")
    for job in JOBS:
        run_container(pod_of(job)["containers"][0], storage, config)

    assert pragma(path, "freelist_count") == free - 1000
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert count_rows(snapshot) == 1000
    said = run_container(pod_of(FLEET)["containers"][0], tmp_path / "unused", None)
    assert "app-0/production: fresh" in said


def test_readme_restores_with_the_jobs_own_template(tmp_path: Path) -> None:
    """What jq leaves of the job is still one: a command, a volume, and no affinity."""
    if shutil.which("jq") is None:
        pytest.skip("jq is missing: apt-get install jq")
    readme = (KUBERNETES / "README.md").read_text()
    program = readme.partition("jq '")[2].partition("'")[0]
    (backup,) = (job for job in JOBS if job["metadata"]["name"] == "keeper-backup")
    job = {"spec": backup["spec"]["jobTemplate"]["spec"]}
    done = subprocess.run(
        ["jq", program], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    pod = json.loads(done.stdout)["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"] == ["keeper", "restore", "production", "--replace"]
    assert "affinity" not in pod
    assert pod["volumes"] == pod_of(backup)["volumes"]


def test_configuration_looks_where_the_volume_is_mounted() -> None:
    """And does not make its prefix of a pod's name."""
    config = tomllib.loads((KUBERNETES / "keeper.toml").read_text())
    mounts = {
        mount["name"]: mount["mountPath"]
        for mount in pod_of(JOBS[0])["containers"][0]["volumeMounts"]
    }
    assert {str(Path(one["path"]).parent) for one in config["databases"]} == {mounts["storage"]}
    assert "{hostname}" not in config["backup"]["to"]
    fleet = pod_of(FLEET)["containers"][0]["command"]
    assert config["backup"]["to"].startswith(f"{fleet[fleet.index('--fleet') + 1]}/")
