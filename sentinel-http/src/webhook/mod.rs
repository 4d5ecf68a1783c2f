//! A receiver for webhooks: it verifies their signatures, and handles each message at most once.

mod answer;
mod received;
mod receiver;
mod service;
mod source;

pub use self::answer::{SENTINEL_DOUBT, SENTINEL_RECEIPT, SENTINEL_RECEIPT_TOKEN};
pub use self::received::{ReceivedWebhook, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
pub use self::receiver::WebhookReceiver;
pub use self::service::WebhookService;
pub use self::source::WebhookSource;
