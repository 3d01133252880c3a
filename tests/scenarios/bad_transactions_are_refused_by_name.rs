//! What a client may send wrongly over HTTP: each is refused with the cause, and the
//! network goes on.

use crate::lab::{
    Lab, PATIENCE, code,
    http::{Answer, OCTETS, get, get_signed, post},
    learn::{Course, options},
    members::{self, TRAINERS, public, secret},
    stage::play,
};
use twinfold_cli::{client::now, task::TaskOptions};
use twinfold_types::{
    Action, ClusterId, Code, Digest, RoundNumber, SignedTx, TaskId, TimeMs,
    api::{HEADER_BLOB, HEADER_KEY, HEADER_SIGNATURE, HEADER_TIME, Level, TxView},
    blob::{BlobId, UploadBody},
    codec,
    key::Signer,
    limits,
    round::{FoldRefusal, Outcome, RoundState},
    tx::{TxBody, UpdateAction},
};

#[test]
fn bad_transactions_are_refused_by_name() {
    let mut lab = Lab::start();
    play(
        &mut lab,
        &[
            ("bytes that are no transaction", no_transaction),
            ("a transaction cut short at any byte", cut_short),
            ("a wrong signature", wrong_signature),
            ("another chain", other_chain),
            ("outside its window", outside_the_window),
            ("a stranger's transaction", stranger),
            ("without the role", without_the_role),
            ("sent again after it was applied", replayed),
            ("updates that name the wrong thing", wrong_updates),
            ("payloads that do not count", bad_payloads),
            ("uploads nobody may make", bad_uploads),
            ("reads of who is no member", bad_reads),
        ],
    );
    lab.same_root();
}

fn post_tx(lab: &Lab, tx: &SignedTx) -> Answer {
    post_bytes(lab, &codec::encode(tx))
}

fn post_bytes(lab: &Lab, bytes: &[u8]) -> Answer {
    post(&format!("{}/v1/txs", lab.url(0)), &[OCTETS], bytes)
}

/// A transaction that is good; what is wrong with it comes after.
fn body(lab: &Lab, sender: &str, action: Action) -> TxBody {
    let signed = lab.client().sign(&secret(sender), action);
    signed.expect("the chain is known").body.clone()
}

fn good(lab: &Lab) -> SignedTx {
    body(lab, "ann", members::set_quota(1)).sign(&secret("ann"))
}

fn no_transaction(lab: &mut Lab) {
    post_bytes(lab, b"").refused(400, &["malformed"]);
    post_bytes(lab, &[0xff; 300]).refused(400, &["malformed"]);
    let trailing = [codec::encode(&good(lab)), vec![0]].concat();
    post_bytes(lab, &trailing).refused(400, &["1 bytes left over"]);
    let long = vec![0; limits::TX_BYTES_MAX + 1];
    post_bytes(lab, &long).refused(413, &["at most 262144"]);
    let longer = vec![0; limits::HTTP_BODY_BYTES_MAX + 1];
    post_bytes(lab, &longer).refused(413, &["1048576"]);
}

fn cut_short(lab: &mut Lab) {
    let bytes = codec::encode(&good(lab));
    for cut in (0..bytes.len()).step_by(7) {
        post_bytes(lab, &bytes[..cut]).refused(400, &[]);
    }
}

fn wrong_signature(lab: &mut Lab) {
    let good = good(lab);
    let mut signature = good.signature;
    signature.0[5] ^= 1;
    let tx = SignedTx::new(good.body.clone(), signature);
    post_tx(lab, &tx).refused(400, &["signature", &public("ann").to_string()]);
    let others = body(lab, "ann", members::set_quota(2)).sign(&secret("ben"));
    post_tx(lab, &others).refused(400, &["signature"]);
}

fn other_chain(lab: &mut Lab) {
    let mut body = body(lab, "ann", members::set_quota(3));
    body.chain = Digest([7; 32]);
    post_tx(lab, &body.sign(&secret("ann"))).refused(400, &["made for chain 0707"]);
}

fn outside_the_window(lab: &mut Lab) {
    let window = |from: TimeMs, until: TimeMs| {
        let body = body(lab, "ann", members::set_quota(4));
        TxBody { valid_from: from, valid_until: until, ..body }.sign(&secret("ann"))
    };
    let now = now();
    let before = |ms: u64| TimeMs(now.0 - ms);
    post_tx(lab, &window(before(9_000), before(5_000))).refused(400, &["until", "make it anew"]);
    post_tx(lab, &window(now.plus(60_000), now.plus(90_000))).refused(400, &["make it anew"]);
    let longest = limits::TX_VALIDITY_MS_MAX;
    post_tx(lab, &window(now, now.plus(longest + 1))).refused(400, &["window"]);
    post_tx(lab, &window(now, now)).refused(400, &["window"]);
}

fn stranger(lab: &mut Lab) {
    let tx = body(lab, "stranger", members::set_quota(5)).sign(&secret("stranger"));
    post_tx(lab, &tx).refused(403, &["the sender is no member"]);
}

fn without_the_role(lab: &mut Lab) {
    let tx = body(lab, TRAINERS[0], members::set_quota(6)).sign(&secret(TRAINERS[0]));
    post_tx(lab, &tx).refused(403, &["roles do not allow"]);
}

/// Sending again is harmless: the same identity is carried out once.
fn replayed(lab: &mut Lab) {
    let (tx, client) = (good(lab), lab.client());
    let first = client.send_tx(&tx, Level::Executed, PATIENCE).expect("executed");
    let height = first.receipt.as_ref().expect("a receipt").height;
    for index in 0..4 {
        lab.reaches(index, height);
        let bytes = codec::encode(&tx);
        let again = post(&format!("{}/v1/txs", lab.url(index)), &[OCTETS], &bytes);
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(again.json()["receipt"]["height"], height.0, "{}", again.text());
    }
    lab.works();
    let head = lab.status(0).height;
    let carried_out = |height: u64| {
        let block = client.block(twinfold_types::Height(height)).expect("the block");
        let is_ours = |found: &&TxView| {
            let code = found.receipt.as_ref().map(|receipt| receipt.code);
            found.id == tx.id() && code == Some(Code::Ok)
        };
        block.txs.iter().filter(is_ours).count()
    };
    assert_eq!((1..=head.0).map(carried_out).sum::<usize>(), 1);
}

fn wrong_updates(lab: &mut Lab) {
    let course = lab.course(&TaskOptions { clusters: 2, ..options("wrong updates", 2) });
    let base = course.collecting(0);
    let payload = course.payload(TRAINERS[0], &base, 0.5);
    let certificate = course.upload(TRAINERS[0], &payload);
    let good = course.action(&base, certificate);
    let wrong = |change: fn(&mut UpdateAction)| {
        let mut action = good.clone();
        change(&mut action);
        let action = Action::Update(Box::new(action));
        post_tx(lab, &body(lab, TRAINERS[0], action).sign(&secret(TRAINERS[0])))
    };
    wrong(|update| update.task = TaskId(Digest([9; 32]))).refused(404, &["no such task"]);
    wrong(|update| update.cluster = ClusterId(7)).refused(409, &["no such cluster"]);
    wrong(|update| update.round = Some(RoundNumber(7))).refused(409, &["another round"]);
    wrong(|update| update.round = None).refused(409, &["round"]);
    wrong(|update| update.base_version += 1).refused(409, &["another version"]);
    wrong(|update| update.examples = 0).refused(409, &["must be positive"]);
    wrong(|update| update.payload.blob.length += 1).refused(409, &["availability"]);
    wrong(|update| _ = update.payload.receipts.pop()).refused(409, &["availability"]);
    wrong(|update| update.payload.receipts[0].signature.0[3] ^= 1).refused(409, &["availability"]);
    let huge = course.upload(TRAINERS[0], &[1; 100_000]);
    let action = Action::Update(Box::new(UpdateAction { payload: huge, ..good.clone() }));
    let tx = body(lab, TRAINERS[0], action).sign(&secret(TRAINERS[0]));
    post_tx(lab, &tx).refused(409, &["larger than such an update can be"]);

    // The good one is taken; a second of the same trainer and another cluster are not.
    let done = lab.done(TRAINERS[0], Action::Update(Box::new(good.clone())));
    wrong(|update| update.examples = 11).refused(409, &["already ordered"]);
    wrong(|update| update.cluster = ClusterId(1)).refused(409, &["another cluster"]);
    crate::lab::until("it is certified", || {
        let status = lab.client().tx(&done.id).ok()?;
        (status.level == Level::Certified).then_some(())
    });
}

/// Ordered, because nodes order digests only; left out by the fold, with the reason.
fn bad_payloads(lab: &mut Lab) {
    let mut options = options("bad payloads", 4);
    (options.clip, options.norm_bound) = (1.0, Some(2.0));
    let course = lab.course(&options);
    let base = course.collecting(0);
    let sound = course.payload(TRAINERS[0], &base, 0.1);
    let over_the_bound = over_the_bound(&course, &base);
    let sent = [
        (TRAINERS[0], sound.clone(), None),
        (TRAINERS[1], sound, Some(FoldRefusal::WrongBinding)),
        (TRAINERS[2], b"no update at all".to_vec(), Some(FoldRefusal::Malformed)),
        (TRAINERS[3], over_the_bound, Some(FoldRefusal::Norm)),
    ];
    for (trainer, payload, _) in &sent {
        assert_eq!(code(&course.send_payload(trainer, &base, payload)), Code::Ok);
    }
    let view = course.ended(0, 0);
    let RoundState::Aggregated { outcomes, .. } = &view.round.state else {
        panic!("the round is {:?}", view.round.state);
    };
    let refused = |outcome: &Outcome| match outcome {
        Outcome::Folded { .. } => None,
        Outcome::Refused(reason) => Some(*reason),
    };
    let found: Vec<_> = view
        .entries
        .iter()
        .zip(outcomes)
        .map(|(entry, outcome)| (entry.trainer, refused(outcome)))
        .collect();
    for (trainer, _, expected) in sent {
        assert!(found.contains(&(public(trainer), expected)), "{trainer}: {found:?}");
    }
}

/// What an honest trainer's tools would not make: the clip was left out.
fn over_the_bound(course: &Course, base: &twinfold_types::api::ClusterView) -> Vec<u8> {
    let mut spec = course.created.spec.clone();
    (spec.clip, spec.norm_bound) = (1 << 30, 1 << 30);
    let trainer = public(TRAINERS[3]);
    let binding = twinfold_fl::update::Binding {
        task: course.created.task,
        trainer,
        base: base.model_digest,
    };
    let delta = [5.0; crate::lab::learn::VALUES];
    let sent = twinfold_fl::compress::compress(&spec, binding, &delta, &[], 0);
    sent.expect("within its own bounds").update.encode()
}

fn bad_uploads(lab: &mut Lab) {
    let (url, content) = (format!("{}/v1/blobs", lab.url(0)), b"a payload".as_slice());
    let chain = lab.client().chain().expect("the chain").digest;
    let upload_of = |who: &str, time_ms: u64, flip: bool, sent: &[u8]| {
        let body = UploadBody { blob: BlobId::whole_copies(content, 4).digest(), time_ms };
        let mut signature = secret(who).sign(&body.statement(&chain));
        signature.0[0] ^= u8::from(flip);
        let (key, time) = (public(who).to_string(), time_ms.to_string());
        let (signature, blob) = (signature.to_string(), body.blob.to_string());
        let headers = [
            OCTETS,
            (HEADER_BLOB, blob.as_str()),
            (HEADER_KEY, key.as_str()),
            (HEADER_TIME, time.as_str()),
            (HEADER_SIGNATURE, signature.as_str()),
        ];
        post(&url, &headers, sent)
    };
    let upload = |who: &str, time_ms, flip| upload_of(who, time_ms, flip, content);
    let now = now().0;
    assert_eq!(upload(TRAINERS[0], now, false).status, 200);
    upload("stranger", now, false).refused(403, &["member"]);
    upload(TRAINERS[0], now, true).refused(403, &["signature"]);
    upload(TRAINERS[0], now - 3_600_000, false).refused(403, &[]);
    upload_of(TRAINERS[0], now, false, b"another").refused(400, &["signed for"]);
    post(&url, &[OCTETS], content).refused(400, &[HEADER_BLOB]);
}

/// Payloads are given to members, who sign their requests, and to nobody else.
fn bad_reads(lab: &mut Lab) {
    let content = b"a payload for members".as_slice();
    let stored = lab.client().upload(&secret(TRAINERS[0]), content).expect("it is stored");
    let url = format!("{}/v1/blobs/{}", lab.url(0), stored.blob.digest());
    let (tess, chain) = (secret(TRAINERS[0]), lab.chain());
    assert_eq!(get_signed(&url, &tess, &chain, 0).body, content);
    get(&url).refused(401, &["not signed", "signature-input"]);
    get_signed(&url, &secret("stranger"), &chain, 0).refused(403, &["no member"]);
    get_signed(&url, &tess, &chain, 400).refused(401, &["5 minutes"]);
    get_signed(&url, &tess, &Digest([1; 32]), 0).refused(401, &["another chain"]);
    let unknown = format!("{}/v1/blobs/{}", lab.url(0), Digest([3; 32]));
    get_signed(&unknown, &tess, &chain, 0).refused(404, &[]);
    lab.twinfold("--key stranger blob get {} -o {}", &[&stored.blob.digest(), &"x"])
        .refused(1, &["no member"]);
}
