//! What the harnesses of the stores' own tests have in common.

/// Adds to a harness addresses in its namespace, its clock, and what the suite needs of it. The harness has the fields
/// `store`, `namespace` and `offset`: the offset of the store's clock, in microseconds.
#[macro_export]
macro_rules! harness {
    ($harness:ty) => {
        impl $harness {
            /// An execution in the namespace of this harness.
            pub(crate) fn execution(&self, key: &str) -> $crate::sentinel_core::Address {
                let key = $crate::sentinel_core::Key::new(key).unwrap();
                $crate::sentinel_core::Address::execution(self.namespace.clone(), key)
            }

            /// A lease in the namespace of this harness.
            pub(crate) fn lease(&self, key: &str) -> $crate::sentinel_core::Address {
                let key = $crate::sentinel_core::Key::new(key).unwrap();
                $crate::sentinel_core::Address::lease(self.namespace.clone(), key)
            }

            pub(crate) fn move_clock(&self, micros: i64) {
                self.offset.fetch_add(micros, ::std::sync::atomic::Ordering::SeqCst);
            }

            /// A record as the store reads it.
            pub(crate) async fn record(
                &self,
                address: &$crate::sentinel_core::Address,
            ) -> $crate::sentinel_core::Record {
                let store: &dyn $crate::sentinel_core::CoordinationStore = &self.store;
                let record = store.inspect(address).await.unwrap().record;
                record.unwrap_or_else($crate::sentinel_core::Record::absent)
            }
        }

        #[$crate::async_trait]
        impl $crate::sentinel_conformance::DynHarness for $harness {
            fn store(&self) -> ::std::sync::Arc<dyn $crate::sentinel_core::CoordinationStore> {
                ::std::sync::Arc::new(self.store.clone())
            }

            fn survey(&self) -> Option<::std::sync::Arc<dyn $crate::sentinel_core::Survey>> {
                Some(::std::sync::Arc::new(self.store.clone()))
            }

            async fn advance(&self, by: ::std::time::Duration) {
                self.move_clock(by.as_micros() as i64);
            }

            async fn set_back(&self, by: ::std::time::Duration) -> bool {
                self.move_clock(-(by.as_micros() as i64));
                true
            }
        }
    };
}
