//! Which identities a fake IMDS has.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A fake IMDS to start: the metadata service of one virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImdsSpec {
    /// Where it listens, which has to be a loopback address; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The identity of the machine itself: the one of a request that names none.
    pub system: Option<ManagedIdentity>,
    /// The identities that were assigned to the machine.
    pub assigned: Vec<ManagedIdentity>,
    /// How long a token lasts.
    pub lifetime: Duration,
}

/// A managed identity by its three names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedIdentity {
    /// Its application id, a GUID.
    pub client: String,
    /// Its service principal's id, a GUID.
    pub object: String,
    /// Its resource id, `/subscriptions/...`.
    pub resource: String,
}

impl ImdsSpec {
    /// The client id of the default's system-assigned identity.
    pub const SYSTEM: &str = "5e0c9a1b-7d3f-4826-a1b0-c9d8e7f60514";
    /// The client id of the default's user-assigned identity.
    pub const ASSIGNED: &str = "b7f8e9d0-1c2b-4a39-8847-56f5e4d3c2b1";
    /// The object id of that identity.
    pub const ASSIGNED_OBJECT: &str = "93c4d5e6-f708-4192-a3b4-c5d6e7f80910";
    /// The resource id of that identity.
    pub const ASSIGNED_RESOURCE: &str = "/subscriptions/0f0e0d0c-0b0a-4908-8706-050403020100/resourcegroups/mock\
                                         /providers/Microsoft.ManagedIdentity/userAssignedIdentities/firstlight";
}

impl Default for ImdsSpec {
    /// A machine with an identity of its own and an assigned one, whose ids are the constants. Tokens last a day.
    fn default() -> Self {
        let machine = "/subscriptions/0f0e0d0c-0b0a-4908-8706-050403020100/resourcegroups/mock/providers/\
                       Microsoft.Compute/virtualMachines/firstlight";
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            system: Some(ManagedIdentity {
                client: Self::SYSTEM.to_owned(),
                object: "64a5b6c7-d8e9-4fa0-b1c2-d3e4f5a6b7c8".to_owned(),
                resource: machine.to_owned(),
            }),
            assigned: vec![ManagedIdentity {
                client: Self::ASSIGNED.to_owned(),
                object: Self::ASSIGNED_OBJECT.to_owned(),
                resource: Self::ASSIGNED_RESOURCE.to_owned(),
            }],
            lifetime: Duration::from_hours(24),
        }
    }
}
