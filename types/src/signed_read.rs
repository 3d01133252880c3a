//! Requests that say who reads: HTTP Message Signatures (RFC 9421) in one profile.
//!
//! The signature's label is `twinfold`. It covers exactly `"@method"`, `"@path"` and `"@query"`, in
//! any order, without parameters; its own parameters are `created` (seconds since the Unix epoch),
//! `keyid` (the member's key, 64 hexadecimal digits), `alg` = `ed25519` and `tag` = `twinfold-` and the
//! chain's digest, so that none is good on another chain. Any client of RFC 9421 can make one.
//!
//! A member's key signs nothing else that could be taken for it: everything else is a digest of 32
//! bytes ([`crate::key::statement`]), and a signature base is a text of more than a hundred.

use crate::{Digest, PublicKey, SecretKey, Signature, key::Signer};
use sfv::{BareItem, Dictionary, FieldType, InnerList, ListEntry, Parser};

pub const HEADER_INPUT: &str = "signature-input";
pub const HEADER_SIGNATURE: &str = "signature";
/// A signature is good for so long, before and after its time.
pub const AGE_SECONDS_MAX: u64 = 5 * 60;

const LABEL: &str = "twinfold";
const COMPONENTS: [&str; 3] = ["@method", "@path", "@query"];
const PARAMETERS: [&str; 4] = ["created", "keyid", "alg", "tag"];
/// Either header.
const HEADER_BYTES_MAX: usize = 1_024;

/// What is signed of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Upper case.
    pub method: &'a str,
    /// As it is sent, percent-encoded.
    pub path: &'a str,
    /// Without the question mark, as it is sent.
    pub query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// A GET of a path, with its query if it has one.
    pub fn get(path_and_query: &'a str) -> Self {
        match path_and_query.split_once('?') {
            Some((path, query)) => Self { method: "GET", path, query: Some(query) },
            None => Self { method: "GET", path: path_and_query, query: None },
        }
    }
}

/// Whose signature a request bears, and of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    pub key: PublicKey,
    pub created_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedReadError {
    #[error("{0} is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong(&'static str),
    #[error("{0} is not a dictionary of structured fields with a member `{LABEL}`")]
    Form(&'static str),
    #[error(
        "the signature must cover \"@method\", \"@path\" and \"@query\", each once and nothing else"
    )]
    Components,
    #[error(
        "the signature's parameters must be created, keyid, alg=\"ed25519\" and tag=\"twinfold-CHAIN\""
    )]
    Parameters,
    #[error("the signature is for another chain")]
    Chain,
    #[error("the signature does not match its key and the request")]
    Signature,
}

/// The values of the two headers for a request.
pub fn sign(
    key: &SecretKey,
    chain: &Digest,
    target: Target<'_>,
    created_seconds: u64,
) -> (String, String) {
    let components = COMPONENTS.map(|name| format!("\"{name}\"")).join(" ");
    let member = key.public_key();
    let params = format!(
        "({components});created={created_seconds};keyid=\"{member}\";alg=\"ed25519\";tag=\"{}\"",
        tag(chain)
    );
    let signature = key.sign_text(&base(&COMPONENTS, target, &params));
    let bytes = sfv::ItemSerializer::new().bare_item(&signature.0[..]).finish();
    (format!("{LABEL}={params}"), format!("{LABEL}={bytes}"))
}

/// Who signed a request. Its age is the caller's to judge.
pub fn verify(
    chain: &Digest,
    target: Target<'_>,
    input: &str,
    signature: &str,
) -> Result<Reader, SignedReadError> {
    let ListEntry::InnerList(list) = member(input, HEADER_INPUT)? else {
        return Err(SignedReadError::Form(HEADER_INPUT));
    };
    let components = components(&list)?;
    let reader = parameters(&list, chain)?;
    let signature = match member(signature, HEADER_SIGNATURE)? {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::ByteSequence(bytes) => bytes.try_into().ok().map(Signature),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    let signature = signature.ok_or(SignedReadError::Form(HEADER_SIGNATURE))?;
    let params = vec![ListEntry::InnerList(list.clone())].serialize();
    let params = params.ok_or(SignedReadError::Form(HEADER_INPUT))?;
    match reader.key.verify_text(&base(&components, target, &params), &signature) {
        true => Ok(reader),
        false => Err(SignedReadError::Signature),
    }
}

fn tag(chain: &Digest) -> String {
    format!("{LABEL}-{chain}")
}

/// The member of a header's dictionary that is ours.
fn member(header: &str, name: &'static str) -> Result<ListEntry, SignedReadError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(SignedReadError::TooLong(name));
    }
    let dictionary = Parser::new(header).parse::<Dictionary>();
    let mut dictionary = dictionary.map_err(|_| SignedReadError::Form(name))?;
    dictionary.swap_remove(LABEL).ok_or(SignedReadError::Form(name))
}

/// The covered components in their order.
fn components(list: &InnerList) -> Result<Vec<&str>, SignedReadError> {
    let name = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(name) if item.params.is_empty() => {
            COMPONENTS.into_iter().find(|known| *known == name.as_str())
        }
        _ => None,
    };
    let named: Option<Vec<&str>> = list.items.iter().map(name).collect();
    let named = named.filter(|named| {
        named.len() == COMPONENTS.len() && COMPONENTS.iter().all(|name| named.contains(name))
    });
    named.ok_or(SignedReadError::Components)
}

fn parameters(list: &InnerList, chain: &Digest) -> Result<Reader, SignedReadError> {
    let text = |name: &str| match list.params.get(name) {
        Some(BareItem::String(text)) => Ok(text.as_str()),
        _ => Err(SignedReadError::Parameters),
    };
    let created_seconds = match list.params.get("created") {
        Some(BareItem::Integer(seconds)) => u64::try_from(i64::from(*seconds)).ok(),
        _ => None,
    };
    let created_seconds = created_seconds.ok_or(SignedReadError::Parameters)?;
    let key = text("keyid")?.parse().map_err(|_| SignedReadError::Parameters)?;
    let known = list.params.keys().all(|name| PARAMETERS.contains(&name.as_str()));
    if !known || text("alg")? != "ed25519" {
        return Err(SignedReadError::Parameters);
    }
    if text("tag")? != tag(chain) {
        return Err(SignedReadError::Chain);
    }
    Ok(Reader { key, created_seconds })
}

/// The signature base: RFC 9421, section 2.5.
fn base(components: &[&str], target: Target<'_>, params: &str) -> String {
    let mut text = String::new();
    for name in components {
        let value = match *name {
            "@method" => target.method.into(),
            "@path" => target.path.into(),
            _ => format!("?{}", target.query.unwrap_or_default()),
        };
        text += &format!("\"{name}\": {value}\n");
    }
    text + &format!("\"@signature-params\": {params}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Digest = Digest([3; 32]);
    const TARGET: Target<'_> = Target { method: "GET", path: "/v1/blobs/00", query: Some("a=b") };

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    fn signed() -> (String, String) {
        sign(&key(), &CHAIN, TARGET, 1_700_000_000)
    }

    #[test]
    fn a_signed_request_names_its_reader() {
        let (input, signature) = signed();
        let reader = verify(&CHAIN, TARGET, &input, &signature).unwrap();
        assert_eq!(reader, Reader { key: key().public_key(), created_seconds: 1_700_000_000 });
        assert_eq!(Target::get("/v1/blobs/00?a=b"), TARGET);
    }

    #[test]
    fn whatever_else_is_asked_for_is_not_signed() {
        let (input, signature) = signed();
        let others = [
            Target { method: "POST", ..TARGET },
            Target { path: "/v1/blobs/01", ..TARGET },
            Target { query: Some("a=c"), ..TARGET },
            Target { query: None, ..TARGET },
        ];
        for other in others {
            let refused = verify(&CHAIN, other, &input, &signature);
            assert_eq!(refused, Err(SignedReadError::Signature), "{other:?}");
        }
        let elsewhere = verify(&Digest([4; 32]), TARGET, &input, &signature);
        assert_eq!(elsewhere, Err(SignedReadError::Chain));
        let later = input.replace("1700000000", "1700000001");
        assert_eq!(verify(&CHAIN, TARGET, &later, &signature), Err(SignedReadError::Signature));
    }

    /// Made with another order of components and parameters, as other clients may.
    #[test]
    fn another_order_is_as_good() {
        let params = format!(
            "(\"@query\" \"@method\" \"@path\");tag=\"{}\";keyid=\"{}\";created=5;alg=\"ed25519\"",
            tag(&CHAIN),
            key().public_key()
        );
        let text = base(&["@query", "@method", "@path"], TARGET, &params);
        let signature = key().sign_text(&text);
        let bytes = sfv::ItemSerializer::new().bare_item(&signature.0[..]).finish();
        let input = format!("other=(), twinfold={params}");
        let reader = verify(&CHAIN, TARGET, &input, &format!("twinfold={bytes}")).unwrap();
        assert_eq!(reader.created_seconds, 5);
    }

    #[test]
    fn a_signature_that_covers_less_or_says_more_is_refused_by_name() {
        let (input, signature) = signed();
        let refused = |from: &str, to: &str| {
            let changed = input.replace(from, to);
            assert_ne!(changed, input, "{from}");
            verify(&CHAIN, TARGET, &changed, &signature).unwrap_err()
        };
        assert_eq!(refused(" \"@query\"", ""), SignedReadError::Components);
        assert_eq!(refused("\"@query\"", "\"@path\""), SignedReadError::Components);
        assert_eq!(refused("\"@query\"", "\"@query\";req"), SignedReadError::Components);
        assert_eq!(refused("\"@query\"", "\"host\""), SignedReadError::Components);
        assert_eq!(refused("ed25519", "hmac-sha256"), SignedReadError::Parameters);
        assert_eq!(refused(";created=1700000000", ""), SignedReadError::Parameters);
        assert_eq!(refused("created=1700000000", "created=-1"), SignedReadError::Parameters);
        assert_eq!(refused(";alg", ";expires=7;alg"), SignedReadError::Parameters);
        assert_eq!(refused("twinfold=", "other="), SignedReadError::Form(HEADER_INPUT));
        let none = verify(&CHAIN, TARGET, &input, "twinfold=7");
        assert_eq!(none, Err(SignedReadError::Form(HEADER_SIGNATURE)));
        let short = verify(&CHAIN, TARGET, &input, "twinfold=:AAAA:");
        assert_eq!(short, Err(SignedReadError::Form(HEADER_SIGNATURE)));
        let long = verify(&CHAIN, TARGET, &" ".repeat(2_000), &signature);
        assert_eq!(long, Err(SignedReadError::TooLong(HEADER_INPUT)));
    }
}
