//! What the ledger knows of payloads: what keeps them, and on whose account they are.

use crate::samples::{blob, digest, key};
use twinfold_types::{
    Action, ClusterId, Code, Epoch, Event, Height, RoundNumber, SeatIndex, TaskId, TimeMs, TxId,
    blob::{BlobReference, Condemned},
    keeping::{Hold, HoldSubject, StorageOwner, Takeover},
    member::AdminAction,
    round::RoundKey,
    state_key::{self, StateKey},
};

fn round() -> RoundKey {
    RoundKey { task: TaskId(digest(5)), cluster: ClusterId(1), round: RoundNumber(6) }
}

fn subjects() -> [HoldSubject; 2] {
    [HoldSubject::Task(TaskId(digest(5))), HoldSubject::Payload(digest(6))]
}

fn owners() -> [StorageOwner; 2] {
    [StorageOwner::Member(key(1)), StorageOwner::Organisation("clinic".into())]
}

pub fn actions() -> Vec<(&'static str, Action)> {
    let [task, payload] = subjects();
    let [member, organisation] = owners();
    let quota = |owner, bytes| AdminAction::SetStorageQuota { owner, bytes };
    let propose = |name, action| (name, Action::Propose(action));
    vec![
        propose("hold a task", AdminAction::Hold { subject: task, reason: "case 7".into() }),
        propose("release a payload", AdminAction::ReleaseHold(payload)),
        propose("storage of a member", quota(member, Some(1 << 40))),
        propose("usual storage of an organisation", quota(organisation, None)),
        ("condemn", Action::Condemn(digest(6))),
        ("take over", Action::TakeOver),
    ]
}

pub fn events() -> Vec<(&'static str, Event)> {
    let [task, payload] = subjects();
    let [owner, _] = owners();
    let failed = |code| Event::ProposalFailed { id: TxId(digest(8)), code };
    vec![
        ("updates released", Event::UpdatesReleased { key: round(), first: 3, updates: 4 }),
        ("hold set", Event::HoldSet { subject: task }),
        ("hold released", Event::HoldReleased { subject: payload }),
        ("storage quota", Event::StorageQuotaSet { owner, bytes: Some(9) }),
        ("payload suspected", Event::PayloadSuspected { blob: digest(6), by: key(2) }),
        ("payload condemned", Event::PayloadCondemned { blob: digest(6), by: key(1) }),
        ("seat taken over", Event::SeatTakenOver { seat: SeatIndex(2), by: key(1) }),
        ("takeover lapsed", Event::TakeoverLapsed { seat: SeatIndex(2), by: key(1) }),
        // Pins the places of the first and the last code.
        ("of code PayloadUnknown", failed(Code::PayloadUnknown)),
        ("of code TakeoverUnknown", failed(Code::TakeoverUnknown)),
    ]
}

pub fn reference() -> BlobReference {
    BlobReference {
        blob: blob(),
        by: key(1),
        organisation: "clinic".into(),
        height: Height(8),
        epoch: Epoch(3),
        reasons: 2,
    }
}

pub fn hold() -> Hold {
    let [_, subject] = subjects();
    Hold { subject, reason: "case 7".into(), height: Height(8), time: TimeMs(9) }
}

pub fn takeover() -> Takeover {
    Takeover { by: key(1), epoch: Epoch(3) }
}

pub fn condemned() -> Condemned {
    Condemned {
        by: key(1),
        organisation: "clinic".into(),
        found_by: [key(2), key(3)].into(),
        height: Height(8),
        time: TimeMs(9),
    }
}

pub fn keys() -> Vec<(&'static str, StateKey)> {
    let ([task, payload], [member, organisation]) = (subjects(), owners());
    vec![
        ("blob reference", state_key::blob_reference(&digest(1))),
        ("hold on a task", state_key::hold(&task)),
        ("hold on a payload", state_key::hold(&payload)),
        ("round end", state_key::round_end(TimeMs(258), &round())),
        ("stored by a member", state_key::stored_bytes(&member)),
        ("stored by an organisation", state_key::stored_bytes(&organisation)),
        ("quota of a member", state_key::storage_quota(&member)),
        ("suspicion", state_key::suspicion(&digest(6))),
        ("suspicion count", state_key::suspicion_count(&key(1))),
        ("condemned", state_key::condemned(&digest(6))),
        ("takeover", state_key::takeover(SeatIndex(2))),
    ]
}
