//! Realtime conversations through Firstlight, between clients and backends that follow a script.

mod ending;
mod opening;
mod passing;
mod stage;
