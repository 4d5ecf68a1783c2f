//! Results and fingerprints that are kept as something else, and errors that are not true.

use std::sync::Arc;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, CoordinationStore, ErrorKind, Fingerprint, Kind, Label, Layer, Layered, RecordedResult,
    StoreError, Verdict,
};

use super::mutation::{Mutation, Snapshot, Written};
use crate::coordination::laws::names::{FNV1A, fnv1a};

/// The result that a worker just recorded, or that an operator did.
fn recorded<'a>(w: &'a mut Written<'_>, forced: bool) -> Option<&'a mut RecordedResult> {
    match w.op {
        Op::Complete(_) if !forced => w.after.result.as_mut(),
        Op::ForceComplete(_) if forced => w.after.result.as_mut(),
        _ => None,
    }
}

/// A change of every result, of workers and operators.
macro_rules! any {
    (|$result:ident| $change:expr) => {
        |w| {
            let forced = matches!(w.op, Op::ForceComplete(_));
            if let Some($result) = recorded(w, forced) {
                $change;
            }
        }
    };
}

/// A change of results that fail.
macro_rules! failures {
    (|$result:ident| $change:expr) => {
        |w| {
            if let Some($result) = recorded(w, false).filter(|result| result.verdict == Verdict::Failure) {
                $change;
            }
        }
    };
}

/// A change of results that an operator records.
macro_rules! forced {
    (|$result:ident| $change:expr) => {
        |w| {
            if let Some($result) = recorded(w, true) {
                $change;
            }
        }
    };
}

fn text_of(result: &mut RecordedResult, change: impl Fn(&str) -> String) {
    if let Ok(text) = std::str::from_utf8(&result.payload.bytes) {
        result.payload.bytes = change(text).into_bytes().into();
    }
}

fn type_of(result: &mut RecordedResult, change: impl Fn(&str) -> String) {
    result.payload.content_type = Label::lossy(change(result.payload.content_type.as_str()));
}

fn results() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §1, replayed byte for byte");
    vec![
        s("cuts failures at 1,000 bytes").write(failures!(|result| result.payload.bytes.truncate(1_000))),
        s("cuts forced results at 64 KiB").write(forced!(|result| result.payload.bytes.truncate(1 << 16))),
        s("cuts results at 1,000,000 bytes").write(any!(|result| result.payload.bytes.truncate(1_000_000))),
        s("keeps failures as text").write(failures!(|result| {
            result.payload.bytes =
                String::from_utf8_lossy(&result.payload.bytes).into_owned().into_bytes().into();
        })),
        s("keeps one kind of line end")
            .write(any!(|result| text_of(result, |text| text.replace("\r\n", "\n")))),
        s("drops a mark of byte order")
            .write(any!(|result| text_of(result, |text| text.replace('\u{feff}', "")))),
        s("trims forced results").write(forced!(|result| text_of(result, |text| text.trim().to_owned()))),
        s("reformats JSON").write(any!(|result| if result.payload.content_type.as_str().contains("json") {
            text_of(result, |text| text.replace(": ", ":").replace("{ ", "{"));
        })),
        s("keeps content types in lower case").write(any!(|result| type_of(result, str::to_lowercase))),
        s("cuts content types at 255 bytes")
            .write(any!(|result| type_of(result, |text| text[..text.floor_char_boundary(255)].to_owned()))),
        s("trims content types").write(any!(|result| type_of(result, |text| text.trim().to_owned()))),
        s("keeps codes in 16 bits")
            .write(any!(|result| result.code = result.code.map(|code| i32::from(code as i16)))),
        s("keeps codes as numbers of 24 bits")
            .write(any!(|result| result.code = result.code.map(|code| code as f32 as i32))),
        s("drops the codes of forced results").write(forced!(|result| result.code = None)),
        s("treats a code of zero as none")
            .write(any!(|result| result.code = result.code.filter(|code| *code != 0))),
        s("records forced failures as successes").write(forced!(|result| result.verdict = Verdict::Success)),
        s("drops the bytes of omitted results").write(any!(|result| if result.omitted {
            result.payload.bytes.clear();
        })),
    ]
}

/// The fingerprints of a claim and of the record, as this store compares them.
fn compared(s: &mut Snapshot, change: fn(&str) -> String) {
    let changed = |text: &Option<Fingerprint>| {
        text.as_ref().map(|text| Fingerprint::new(format!(".{}", change(text.as_str()))).expect("short"))
    };
    s.record.fingerprint = changed(&s.record.fingerprint);
    if let Op::Claim(claim) = &mut s.op {
        claim.fingerprint = changed(&claim.fingerprint);
    }
}

fn fingerprints() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, claim, fingerprint");
    vec![
        s("compares 255 bytes of fingerprints")
            .guard(|s| compared(s, |text| text[..text.floor_char_boundary(255)].to_owned())),
        s("ends fingerprints at the first zero").guard(|s| {
            compared(s, |text| text.split('\0').next().unwrap_or_default().chars().take(900).collect())
        }),
        s("drops blanks at the end of fingerprints")
            .guard(|s| compared(s, |text| text.trim_end().chars().take(900).collect())),
        s("folds the case of fingerprints")
            .guard(|s| compared(s, |text| text.to_lowercase().chars().take(900).collect())),
        s("compares the lengths of fingerprints").guard(|s| compared(s, |text| text.len().to_string())),
    ]
}

/// The hash of a result's bytes that this store compares.
fn hashed(result: &RecordedResult) -> u32 {
    fnv1a(FNV1A, &result.payload.bytes)
}

/// A repeated result that is taken for the recorded one.
fn confused(s: &mut Snapshot, alike: fn(&RecordedResult, &RecordedResult) -> bool) {
    let Some(recorded) = s.record.result.clone() else { return };
    match &mut s.op {
        Op::Complete(op) if alike(&recorded, &op.result) => op.result = recorded,
        Op::ForceComplete(op) if alike(&recorded, &op.result) => op.result = recorded,
        _ => {}
    }
}

fn repeats() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, complete, other bytes");
    vec![
        s("compares results by FNV-1a").guard(|s| {
            confused(s, |a, b| {
                RecordedResult { payload: b.payload.clone(), ..a.clone() } == *b && hashed(a) == hashed(b)
            })
        }),
        s("compares only the bytes of results")
            .guard(|s| confused(s, |a, b| a.payload.bytes == b.payload.bytes)),
        s("compares results without their codes")
            .guard(|s| confused(s, |a, b| RecordedResult { code: b.code, ..a.clone() } == *b)),
        s("compares fingerprints by FNV-1a")
            .guard(|s| compared(s, |text| format!("{:08x}", fnv1a(FNV1A, text.as_bytes())))),
    ]
}

/// Reports some requests as not applied, after they were.
#[derive(Debug)]
struct FalseRefusals(Arc<dyn CoordinationStore>, fn(&Address, &Op) -> Option<Op>);

#[async_trait]
impl Layer for FalseRefusals {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        match (self.1)(address, &op) {
            Some(applied) => {
                applied.send(&*self.0, address).await?;
                Err(StoreError::not_applied(ErrorKind::InvalidRequest, "the request is not allowed"))
            }
            None => op.send(&*self.0, address).await,
        }
    }
}

fn lies() -> Vec<Mutation> {
    macro_rules! controls {
        ($($name:literal: $lie:expr;)*) => {
            vec![$(Mutation::new($name, "spec §6, not applied")
                .layer(|store| Arc::new(Layered(FalseRefusals(store, $lie)))),)*]
        };
    }
    controls! {
        "records a huge result and reports that it did not": |_, op| match op {
            Op::Complete(complete) => (complete.result.payload.bytes.len() > 1 << 20).then(|| op.clone()),
            _ => None,
        };
        "records a part of a huge result and reports that it did not": |_, op| match op {
            Op::Complete(complete) if complete.result.payload.bytes.len() > 1 << 20 => {
                let mut complete = complete.clone();
                complete.result.payload.bytes.truncate(1 << 20);
                Some(complete.into())
            }
            _ => None,
        };
        "releases a lease that is abandoned and reports that it did not": |at, op| match op {
            Op::Abandon(abandon) if at.kind == Kind::Lease => {
                Some(Release { grant: abandon.grant, vouched: false }.into())
            }
            _ => None,
        };
        "claims a lease by a fused claim and reports that it did not": |at, op| match op {
            Op::Claim(claim) if at.kind == Kind::Lease && claim.phase == Phase::Executing => {
                Some(Claim { phase: Phase::Claimed, ..claim.clone() }.into())
            }
            _ => None,
        };
    }
}

pub(super) fn all() -> Vec<Mutation> {
    [results(), fingerprints(), repeats(), lies()].concat()
}
