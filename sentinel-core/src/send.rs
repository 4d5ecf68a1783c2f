//! Sends an operation that is data, the kernel's [`Op`], through the methods of a store.

use crate::address::Address;
use crate::error::{ErrorKind, StoreError};
use crate::kernel::{Op, Reply};
use crate::operation::{Beat, Stamped};
use crate::store::CoordinationStore;

macro_rules! send {
    ([] $($method:ident, $op:ident, $_reply:ident;)*) => {
        impl Op {
            /// Sends the operation to a store. A heartbeat is sent as a batch of one.
            pub async fn send(
                &self,
                store: &dyn CoordinationStore,
                address: &Address,
            ) -> Result<Stamped<Reply>, StoreError> {
                match self {
                    $(Self::$op(op) => Ok(store.$method(address, op).await?.map(Reply::$op)),)*
                    Self::Heartbeat(op) => {
                        let beat = Beat { address: address.clone(), grant: op.grant };
                        let replies = store.heartbeat(&[beat]).await?;
                        let reply = <[_; 1]>::try_from(replies).map_err(|replies| {
                            let detail = format!("one heartbeat got {} replies", replies.len());
                            StoreError::ambiguous(ErrorKind::BrokenStore, detail)
                        })?;
                        let [reply] = reply;
                        Ok(reply.map(Reply::Heartbeat))
                    }
                }
            }
        }
    };
}

crate::for_each_operation!(send []);
