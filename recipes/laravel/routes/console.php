<?php

use Illuminate\Support\Facades\Schedule;

// keeper from Laravel's scheduler. Not env(): it gives null once the configuration is cached.
// keeper has a lock of its own, so withoutOverlapping() is not needed.
$keeper = '/opt/keeper/bin/keeper';
$options = '--quiet --config /srv/app/keeper.toml';

Schedule::exec("$keeper vacuum $options")
    ->hourlyAt(17)
    ->evenInMaintenanceMode()
    ->emailOutputOnFailure('ops@example.com');

Schedule::exec("$keeper backup $options")
    ->dailyAt('03:42')
    ->evenInMaintenanceMode()
    ->runInBackground()
    ->emailOutputOnFailure('ops@example.com');
