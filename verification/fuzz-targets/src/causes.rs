//! Causes, as other services send them and as stores keep them.

use sentinel_core::{Cause, Root, TraceId};

use crate::sound;

/// Each text is refused, or read as a cause that is read back the same.
pub(crate) fn causes(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let trace = TraceId::from_traceparent(text).ok();
    trace.iter().for_each(|trace| assert!(text.contains(&trace.to_string()), "{text:?}"));
    text.parse::<TraceId>().iter().for_each(|trace| assert_eq!(trace.to_string(), text));
    Root::new(text).iter().for_each(|root| sound::cause(&Cause::new(root.clone())));
    text.parse::<Cause>().iter().for_each(sound::cause);
    if let Ok(cause) = Cause::from_header(text, trace) {
        assert!(text.len() <= Cause::MAX_HEADER_BYTES);
        sound::cause(&cause);
    }
}
