//! Who reads content. Payloads and models are for members, unless this node's operator says that
//! they are for everybody: a request for one is signed by a member's key (RFC 9421, in the profile of
//! `twinfold_types::signed_read`), checked against the state. A sealed payload's bytes are for its
//! owner and its readers.

use super::{Api, Refusal, extract::cut};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, request::Parts},
};
use std::sync::Arc;
use twinfold_types::{
    BlobDigest, PublicKey,
    member::Member,
    sealed::{SealedRecord, SealedWrap},
    signed_read::{self, AGE_SECONDS_MAX, HEADER_INPUT, HEADER_SIGNATURE, Reader, Target},
    state_key,
};

const HINT: &str = "content is for members: `twinfold` signs with --key NAME, others by RFC 9421 \
                    (docs/privacy.md)";

/// A request whose sender may read content: the member, unless everybody may.
pub struct ByMember(Option<PublicKey>);

impl ByMember {
    /// Whether a payload is for this member: one that is sealed is not for all.
    pub async fn may_read(&self, api: &Arc<Api>, blob: &BlobDigest) -> Result<(), Refusal> {
        let (Some(reader), blob) = (self.0, *blob) else { return Ok(()) };
        let may = api.read(move |api| {
            let ledger = &api.node.reader;
            let record: Option<SealedRecord> = ledger.get(&state_key::sealed(&blob))?;
            let Some(record) = record.filter(|record| record.owner != reader) else {
                return Ok(true);
            };
            let wrap: Option<SealedWrap> = ledger.get(&state_key::sealed_wrap(&blob, &reader))?;
            Ok(record.destroyed.is_none() && wrap.is_some())
        });
        match may.await? {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("payload {blob} is sealed, and not for {reader}"),
                "ask its owner to grant it: `twinfold blob stat` says who that is",
            )),
        }
    }
}

impl FromRequestParts<Arc<Api>> for ByMember {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        if api.public_content {
            return Ok(Self(None));
        }
        let reader = reader(parts, api)?;
        let now_seconds = crate::clock::now().0 / 1_000;
        if reader.created_seconds.abs_diff(now_seconds) > AGE_SECONDS_MAX {
            return Err(unsigned("the signature is over 5 minutes old, or of a later time"));
        }
        let member: Option<Member> =
            api.read(move |api| Ok(api.node.reader.get(&state_key::member(&reader.key))?)).await?;
        match member {
            Some(_) => Ok(Self(Some(reader.key))),
            None => {
                let error = format!("the reader {} is no member", reader.key);
                Err(Refusal::new(StatusCode::FORBIDDEN, error, HINT))
            }
        }
    }
}

fn reader(parts: &Parts, api: &Api) -> Result<Reader, Refusal> {
    let input = text(&parts.headers, HEADER_INPUT)?;
    let signature = text(&parts.headers, HEADER_SIGNATURE)?;
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let target = Target { method: parts.method.as_str(), path, query };
    signed_read::verify(&api.node.chain, target, input, signature)
        .map_err(|error| unsigned(&cut(&error.to_string())))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(unsigned(&format!("expected one header {name}"))),
    }
}

fn unsigned(reason: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, format!("the request is not signed: {reason}"), HINT)
}
