//! What a request and a connection may cost, and what stands in front, written.

use super::{Entry, map, seconds, text, whole};
use crate::config::checked::{InFront, Limits, Timeouts};
use crate::config::keys;
use crate::config::settings;
use serde_yaml::Value;

pub(super) fn timeouts(timeouts: &Timeouts) -> Value {
    map([
        seconds(keys::CONNECT.path, timeouts.connect),
        seconds(keys::ANSWER.path, timeouts.answer),
        seconds(keys::IDLE.path, timeouts.idle),
        seconds(keys::BODY_IDLE.path, timeouts.body_idle),
        seconds(keys::BODY_TOTAL.path, timeouts.body_total),
        seconds(keys::REALTIME_IDLE.path, timeouts.realtime_idle),
        seconds(keys::REALTIME_TOTAL.path, timeouts.realtime_total),
        seconds(keys::BODY_GRACE.path, timeouts.body_grace),
        seconds(keys::HEADER_TIME.path, timeouts.header),
        seconds(keys::KEEP_ALIVE.path, timeouts.keep_alive),
    ])
}

pub(super) fn limits(limits: &Limits) -> Value {
    map([
        (keys::name(keys::CONCURRENT.path), limits.concurrent.into()),
        whole(keys::BODY.path, settings::mebibytes(limits.body_bytes)),
        whole(keys::BUFFERED.path, settings::mebibytes(limits.buffered_bytes)),
        whole(keys::KEPT_IDS.path, limits.kept_ids),
        (keys::name(keys::BODY_RATE.path), limits.body_rate.into()),
        whole(keys::HEADER_BYTES.path, limits.header_bytes),
        whole(keys::HEADERS.path, limits.headers),
        (keys::name(keys::H2_STREAMS.path), limits.h2_streams.into()),
        whole(keys::CONNECTIONS.path, limits.connections),
        whole(keys::CONNECTIONS_PER_IP.path, limits.connections_per_ip),
    ])
}

/// What is not there is not written.
pub(super) fn in_front(front: &InFront) -> impl Iterator<Item = Entry> {
    let networks = (!front.trusted_proxies.is_empty())
        .then(|| front.trusted_proxies.iter().map(text).collect::<Value>());
    let path = front.status_path.as_ref().map(text);
    let id = front.front_door_id.as_ref().map(text);
    let rows = [
        (keys::TRUSTED_PROXIES.path, networks),
        (keys::STATUS_PATH.path, path),
        (keys::FRONT_DOOR_ID.path, id),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?)))
}
