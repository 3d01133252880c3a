//! Every bound in one place, each with its reason; relations between them are
//! asserted when the crate compiles. Units last in the name.

/// Largest value the decoder ever touches; single messages have tighter limits.
pub const DECODE_BYTES_MAX: usize = 32 << 20;

/// One signed transaction. A certificate of 100 receipts is about 7 kB; a task
/// with 1,000 tensors about 60 kB; a fold result over 1,024 updates about 20 kB.
pub const TX_BYTES_MAX: usize = 256 << 10;
/// Transactions in a block, in bytes: bounds what must be synced before a vote.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Transactions in a block, in number: bounds execution time.
pub const BLOCK_TXS_MAX: usize = 5_000;
/// Bytes that each seat stores of what the transactions of one block name together.
pub const BLOCK_PAYLOAD_BYTES_MAX: u64 = 4 << 30;
/// A message on the consensus connection: a block with its signatures, or a
/// batch of blocks for a node that catches up.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Committed blocks in one answer to a node that catches up, in bytes.
pub const SYNC_BYTES_MAX: usize = 8 << 20;
/// Committed blocks in one answer to a node that catches up.
pub const SYNC_BLOCKS_MAX: usize = 256;

/// Blocks below the newest stable checkpoint that a node keeps at least: who was away for a
/// moment catches up from anyone.
pub const BLOCKS_KEPT_MIN: u64 = 1_024;

/// Rows of the state in one part that a node serves; where there are more it names the
/// sixteen parts below.
pub const SUBTREE_ROWS_MAX: usize = 256;
/// The same in bytes, unless it is one row.
pub const SUBTREE_BYTES_MAX: usize = 1 << 20;
/// An answer with one part of the state. One row may be larger than the others together:
/// a transaction makes at most a few times its own size.
pub const SUBTREE_ANSWER_BYTES_MAX: usize = 4 << 20;

/// Blocks in one answer to a node that joins.
pub const JOIN_BLOCKS_MAX: usize = 256;
/// An answer with such blocks: as many as are below the limit of catching up, or one.
pub const JOIN_ANSWER_BYTES_MAX: usize = SYNC_BYTES_MAX + 2 * BLOCK_BYTES_MAX;
/// A checkpoint file for joining, or an anchor on the wire: a committee and a certificate for
/// each epoch that has ended, up to 20 kB each, and the edge of an audit log of any size.
pub const CHECKPOINT_FILE_BYTES_MAX: usize = 16 << 20;
/// A recovery's file: a committee of the largest size, and every member an admin who signed.
pub const RECOVERY_FILE_BYTES_MAX: usize = 4 << 20;
/// Epoch numbers that a recovery may leave out. A few are left out where statements were given
/// up; one near the end of the numbers would leave none for the epochs after it.
pub const RECOVERY_EPOCHS_MAX: u64 = 1 << 16;

/// Seats in a committee: certificates are lists of signatures.
pub const SEATS_MAX: usize = 100;
/// Heights a view may order above its base before the planned view change.
pub const VIEW_HEIGHTS_MAX: u64 = 10_000;
/// Heights beyond the newest stable checkpoint that may be voted on.
pub const WATERMARK_HEIGHTS: u64 = 64;
/// Heights a leader may have in flight above the committed head: enough to hide the three
/// message delays and two syncs that each takes.
pub const PIPELINE_HEIGHTS: u64 = 4;
/// A checkpoint is signed at least every so many heights.
pub const CHECKPOINT_INTERVAL_HEIGHTS: u64 = 16;
/// Bodies that a validator prepared and that the chain has left, above its head: a certificate that
/// another holds of one of them may still make it a base, and then its signers are asked for it.
pub const PREPARED_BODIES_MAX: usize = 32;
/// The newest height is signed when nothing was in flight for so long: where heights follow one
/// another sooner, a checkpoint for each would cost as much as half of its agreement.
pub const CHECKPOINT_QUIET_MS: u64 = 50;
/// How far a header's time may run ahead of a voter's clock.
pub const DRIFT_MS_MAX: u64 = 2_000;

/// Version of the rules of execution and agreement that this program follows; an epoch with a
/// later one stops it.
pub const PROTOCOL_VERSION: u32 = 1;
/// Shortest epoch, in block time: an election is not free.
pub const EPOCH_MS_MIN: u64 = 1_000;
/// Longest unbonding time.
pub const UNBONDING_MS_MAX: u64 = 366 * 24 * 3_600 * 1_000;
/// Epochs whose undelegated stake is on its way at once: a slash reaches into each, and
/// evidence about each is taken at most as long. A block may accuse a validator once for each,
/// so the square of it bounds the rows that this writes.
pub const UNBONDING_EPOCHS_MAX: u64 = 512;
/// Checkpoint heights of the running epoch, the newest, whose signatures are still taken: more
/// than one leader's view orders, so that none can keep a seat's signatures out for good.
pub const ATTESTED_HEIGHTS_MAX: u64 = 4_096;
/// A seat is judged by the checkpoints it signed only when there were so many.
pub const JUDGED_CHECKPOINTS_MIN: u32 = 4;
/// Past epochs that are forgotten in one block; the rest go with the next epoch.
pub const EPOCHS_FORGOTTEN_MAX: usize = 16;
/// Evidence that waits at a node for the ledger: an equivocation and a few wrong results of each
/// seat that may lie in the largest committee, over some epochs.
pub const EVIDENCE_WAITING_MAX: usize = 512;
/// Of that about one seat in one epoch. The ledger punishes one equivocation and one wrong result
/// there; of several results that differ from one's own some may not turn out wrong.
pub const EVIDENCE_PER_SEAT_MAX: usize = 4;
/// When the admins end an epoch early, it ends so many heights after the block that says so:
/// nobody may vote so far ahead without having executed that block.
pub const EPOCH_END_HEIGHTS: u64 = WATERMARK_HEIGHTS;
/// While an epoch is to end at a height, empty blocks lead there, this far apart.
pub const TICK_MS: u64 = 10;
/// Undelegations that become free in one block; the rest follow in the next.
pub const RELEASES_MAX: usize = 256;

/// First time-out of a view.
pub const VIEW_TIMEOUT_MS_FIRST: u64 = 1_000;
/// Shortest time-out of a view, where blocks come quickly: a disk that is busy for a
/// moment must not cost a leader its view.
pub const VIEW_TIMEOUT_MS_MIN: u64 = 600;
/// Cap of the exponential back-off of time-outs.
pub const VIEW_TIMEOUT_MS_MAX: u64 = 30_000;
/// Votes and view changes are repeated to peers that lag, so often.
pub const STATUS_INTERVAL_MS: u64 = 500;

/// Longest validity of a transaction in block time; the replay set covers it.
pub const TX_VALIDITY_MS_MAX: u64 = 10 * 60 * 1_000;
/// Transactions waiting in a node's pool.
pub const POOL_TXS_MAX: usize = 20_000;
/// Bytes waiting in a node's pool.
pub const POOL_BYTES_MAX: usize = 64 << 20;
/// Transactions of one member waiting in a node's pool.
pub const POOL_MEMBER_TXS_MAX: usize = 2_000;

/// A model or update payload, and whatever is stored as whole copies: each seat keeps all of it.
pub const BLOB_BYTES_MAX: u64 = 2 << 30;
/// A payload up to here goes right behind the request that announces it: asking first would cost
/// more than the bytes.
pub const BLOB_SMALL_BYTES_MAX: u64 = 128 << 10;
/// A blob in coded fragments: its longest fragment is half of it (four seats), which a block must
/// be able to name; more is several blobs.
pub const CODED_BLOB_BYTES_MAX: u64 = 8 << 30;
/// One fragment's share of a stripe, and the group of its verified stream: what is taken in before
/// a lie is noticed. A power of two of BLAKE3's chunks, so that a group is a whole subtree.
pub const PIECE_BYTES: usize = 64 << 10;
/// Content of the stripes that are decoded at once. Decoding has a cost of its own, whatever the
/// length, of a millisecond or more; the working space is a few times this, times n/k.
pub const DECODE_RUN_BYTES: usize = 4 << 20;
/// The hashes of all groups of the longest fragment, 32 bytes each.
pub const GROUP_LIST_BYTES_MAX: u64 = CODED_BLOB_BYTES_MAX / 2 / PIECE_BYTES as u64 * 32;
/// The canonical list of a blob's fragment hashes, one a seat.
pub const FRAGMENT_LIST_BYTES_MAX: usize = 8 + 32 * SEATS_MAX;
/// Plain bytes of one segment of a sealed payload: what is held before it is known to be whole.
pub const SEGMENT_BYTES: usize = 64 << 10;
/// Content of a sealed payload: with a tag of 16 bytes for each segment and the preamble it still
/// is a payload of the largest size.
pub const SEALED_CONTENT_BYTES_MAX: u64 = CODED_BLOB_BYTES_MAX - (4 << 20);
/// Readers granted or revoked by one transaction: each wrap is 144 bytes, so a grant is 10 kB.
pub const SEALED_WRAPS_PER_TX_MAX: usize = 64;
/// Readers of one sealed payload: a purge takes all their rows away in one transaction, and an
/// answer of the API lists them.
pub const SEALED_WRAPS_MAX: u32 = 256;
/// Payload bytes that an organisation's members may have named on the ledger at once, unless the
/// admins say otherwise.
pub const ORGANISATION_STORED_BYTES_DEFAULT: u64 = 16 << 40;
/// Updates whose retention is over that are released in one block; the rest follow in the next.
pub const UPDATES_RELEASED_MAX: u32 = 256;
/// Payloads that one member says were cut by a liar, and that are not settled: the others look at each.
pub const SUSPICIONS_OPEN_MAX: u32 = 16;
/// Ended epochs that elections wait for a newcomer to make its fragments.
pub const TAKEOVER_EPOCHS_MAX: u64 = 4;
/// Payload bytes of a round that a rule may hold at once which needs all updates together.
pub const ROUND_HELD_BYTES_MAX: u64 = 1 << 30;
/// Updates of which all pairs are compared.
pub const KRUM_PARTICIPANTS_MAX: u32 = 128;
/// Fewest participants of a masked round: a sum of fewer says much of each.
pub const MASKED_MIN: u32 = 8;
/// Most: each shares its secrets among all, 128 bytes for each in one transaction, and execution checks it.
pub const MASKED_MAX: u32 = 128;
/// Masks that are drawn again to unmask a round when a third are missing, about half a minute of one core.
pub const UNMASKING_BYTES_MAX: u64 = 32 << 30;
/// Least variance of a member's noise: below it a sum of discrete Gaussians is too unlike one.
pub const NOISE_VARIANCE_MIN: u64 = 9;
/// Greatest: it is drawn in integers of 128 bits.
pub const NOISE_VARIANCE_MAX: u64 = 1 << 40;
/// Steps of a geometric median.
pub const WEISZFELD_STEPS_MAX: u8 = 64;
/// Where a loss counts, in 1/2^16: more than 16 counts as 16.
pub const LOSS_MAX: u32 = 1 << 20;
/// Its greatest power that is taken, the third, in 1/2^16.
pub const LOSS_WEIGHT_MAX: u64 = 1 << 28;
/// While a hold stands a round is looked at again so often, in block time.
pub const HOLD_LOOK_MS: u64 = 24 * 3_600 * 1_000;
/// A payload that no transaction names, or none any more, stays here at least so long.
pub const UPLOAD_LEASE_MS: u64 = 24 * 3_600 * 1_000;
/// Payload bytes of one member that are stored and not yet folded or expired.
pub const MEMBER_PENDING_BYTES_MAX: u64 = 8 << 30;
/// Bytes of one piece on the payload connection.
pub const BLOB_CHUNK_BYTES: usize = 1 << 20;

/// Content of one version of a data set.
pub const DATASET_BYTES_MAX: u64 = 16 << 30;
/// Chunks are cut where the content says, between these lengths and so long on average: short enough
/// that a small change costs little, long enough that 48 bytes of manifest for each are nothing.
pub const DATASET_CHUNK_BYTES_MIN: u32 = 16 << 10;
pub const DATASET_CHUNK_BYTES_AVERAGE: u32 = 64 << 10;
pub const DATASET_CHUNK_BYTES_MAX: u32 = 256 << 10;
/// Chunks of one version: twice as many as the longest content has on average.
pub const DATASET_CHUNKS_MAX: usize = 512 << 10;
/// Packs whose chunks one version uses.
pub const DATASET_PACKS_MAX: usize = 1_024;
/// A manifest: 48 bytes a chunk, 76 a pack.
pub const MANIFEST_BYTES_MAX: usize = 48 * DATASET_CHUNKS_MAX + 76 * DATASET_PACKS_MAX + 64;
/// One pack: what is on its way at once, and what the uploader's disk needs room for.
pub const DATASET_PACK_BYTES_MAX: u64 = 1 << 30;
/// Packs that one version brings: its fragments must fit into a block's payloads.
pub const DATASET_PACKS_NEW_MAX: usize = 6;
/// Columns that a version's record names: they and the certificates of its packs make one transaction.
pub const DATASET_COLUMNS_MAX: usize = 512;
/// Versions of one data set.
pub const DATASET_VERSIONS_MAX: u64 = 100_000;
/// Versions that one transaction purges.
pub const DATASET_PURGED_MAX: u32 = 64;
/// Members whom a data set's owner grants appending.
pub const DATASET_GRANTS_MAX: u32 = 1_000;
/// Data sets of one member: each is a row for good.
pub const DATASETS_MAX: u32 = 1_000;

/// Tensors of one model.
pub const TENSORS_MAX: usize = 2_000;
/// Dimensions of one tensor.
pub const TENSOR_DIMENSIONS_MAX: usize = 8;
/// Values of one model: its steps, or a dense 32-bit update with its header, are one blob.
pub const MODEL_VALUES_MAX: u64 = (BLOB_BYTES_MAX - (1 << 20)) / 4;
/// Block of a model's canonical form under its Merkle root.
pub const MODEL_BLOCK_BYTES: usize = 64 << 10;
/// Scale: |x| < 2^(31−S) must leave room for a sign and one integer bit.
pub const SCALE_MAX: u8 = 30;
/// Default scale of a tensor.
pub const SCALE_DEFAULT: u8 = 20;
/// Open tasks of one organisation: each writes three rows a cluster when it begins, and is looked
/// through for folding.
pub const TASKS_OPEN_MAX: u32 = 64;
/// Clusters of one task.
pub const CLUSTERS_MAX: u16 = 256;
/// Updates in one cluster round: the fold result lists each.
pub const PARTICIPANTS_MAX: u32 = 1_024;
/// Trainers enrolled in one cluster of a task that chooses: a round's drawing lists each.
pub const ENROLLED_MAX: u32 = 1_024;
/// Trainers of a task that forms its clusters: each merge may look through all.
pub const FORMED_MAX: usize = 4_096;
/// Labels that a trainer's profile tells of.
pub const PROFILE_LABELS_MAX: usize = 128;
/// Rounds in a row that may wait for an enrolled trainer in vain; then it is not chosen any more.
pub const MISSED_MAX: u32 = 3;
/// Drawings in one block: each reads and writes every enrolled trainer.
pub const DRAWINGS_MAX: usize = 16;
/// Reports by which a version is scored: one row of the state holds them.
pub const REPORTS_MAX: u32 = 64;
/// Length of a staleness table.
pub const STALENESS_MAX: usize = 256;
/// Factor that means 1 in clip and staleness factors.
pub const FACTOR_ONE: u32 = 1 << 16;
/// Shortest round deadline: each can cost a block and a row for good.
pub const ROUND_DEADLINE_MS_MIN: u64 = 100;
/// Longest round deadline.
pub const ROUND_DEADLINE_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Longest retention of a task: no node drops blocks that it covers.
pub const RETENTION_MS_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// Extensions of a round that has too few updates.
pub const EXTENSIONS_MAX: u32 = 100;
/// Round deadlines worked off in one block; the rest follow in the next.
pub const DEADLINES_MAX: usize = 1_024;
/// Length of names of members, organisations, tasks, models and tensors.
pub const NAME_BYTES_MAX: usize = 128;
/// Length of descriptions of tasks, models and data sets.
pub const DESCRIPTION_BYTES_MAX: usize = 16 * NAME_BYTES_MAX;
/// A multiaddress that a validator declares: a name of 100 letters with its port fits.
pub const ADDRESS_BYTES_MAX: usize = 128;
/// Members of one chain: bounds genesis and the member list.
pub const MEMBERS_MAX: usize = 16_000;
/// A genesis file.
pub const GENESIS_BYTES_MAX: usize = 4 << 20;
/// Open proposals.
pub const PROPOSALS_OPEN_MAX: usize = 100;
/// Open proposals that one admin alone has signed: nobody can keep the others from proposing.
pub const PROPOSALS_UNSUPPORTED_MAX: usize = 10;
/// A proposal that has not passed by then lapses.
pub const PROPOSAL_LIFETIME_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Trainers an organisation's operator may add, unless the admins say otherwise.
pub const TRAINER_QUOTA_DEFAULT: u32 = 100;

/// An HTTP request other than a payload upload.
pub const HTTP_BODY_BYTES_MAX: usize = 1 << 20;
/// Request line and headers of an HTTP request.
pub const HTTP_HEADER_BYTES_MAX: usize = 32 << 10;
/// Connections to the HTTP API at once: each takes a file descriptor.
pub const HTTP_CONNECTIONS_MAX: usize = 512;
/// Requests of the HTTP API served at once.
pub const HTTP_CONCURRENCY_MAX: usize = 256;
/// Uploads, and as many downloads, served at once: each holds one payload.
pub const HTTP_UPLOADS_MAX: usize = 16;
/// Rows of one page of a listing.
pub const PAGE_ROWS_MAX: usize = 200;
/// Watchers of the event stream at once.
pub const WATCHERS_MAX: usize = 64;

/// A semantic version: its three numbers and some words.
pub const VERSION_BYTES_MAX: usize = 64;
/// All that a publisher says of a model: a graph with 130 inputs fits, and a page of 200 models is
/// below 4 MiB.
pub const MODEL_ABOUT_BYTES_MAX: usize = 16 << 10;
/// Tags of a model.
pub const MODEL_TAGS_MAX: usize = 16;
/// Data sets that a model names.
pub const MODEL_DATASETS_MAX: usize = 16;
/// Parents that a publisher names: a lineage is walked through each.
pub const MODEL_PARENTS_MAX: usize = 16;
/// Inputs, outputs, operators and operator sets of a graph, each: ONNX has some 200 operators, and
/// a language model two inputs a layer.
pub const MODEL_FORM_ROWS_MAX: usize = 256;
/// Metrics of a model: all are read at once.
pub const MODEL_METRICS_MAX: u32 = 256;
/// Of those by one member: nobody alone can use up the others' room.
pub const MEMBER_METRICS_MAX: u32 = 32;
/// Published models that one request of a search looks at.
pub const SEARCH_MODELS_MAX: usize = 1_000;

const _: () = {
    assert!(TX_BYTES_MAX <= BLOCK_BYTES_MAX);
    assert!(2 * BLOCK_BYTES_MAX <= MESSAGE_BYTES_MAX);
    assert!(SYNC_BYTES_MAX + BLOCK_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX <= DECODE_BYTES_MAX);
    assert!(TX_BYTES_MAX < HTTP_BODY_BYTES_MAX);
    assert!(HTTP_CONCURRENCY_MAX + WATCHERS_MAX < HTTP_CONNECTIONS_MAX);
    assert!(CHECKPOINT_INTERVAL_HEIGHTS * 2 <= WATERMARK_HEIGHTS);
    assert!(VIEW_TIMEOUT_MS_MIN < VIEW_TIMEOUT_MS_MAX);
    assert!(STATUS_INTERVAL_MS < VIEW_TIMEOUT_MS_MIN);
    assert!(MODEL_VALUES_MAX * 4 < BLOB_BYTES_MAX);
    assert!(BLOB_BYTES_MAX <= BLOCK_PAYLOAD_BYTES_MAX);
    assert!(BLOB_BYTES_MAX <= CODED_BLOB_BYTES_MAX / 2);
    assert!(CODED_BLOB_BYTES_MAX / 2 <= BLOCK_PAYLOAD_BYTES_MAX);
    assert!(PIECE_BYTES.is_power_of_two() && PIECE_BYTES.is_multiple_of(1_024));
    assert!(GROUP_LIST_BYTES_MAX <= DECODE_BYTES_MAX as u64);
    assert!(BLOB_BYTES_MAX <= MEMBER_PENDING_BYTES_MAX);
    // Sixteen bytes a segment, and the preamble.
    assert!(
        SEALED_CONTENT_BYTES_MAX / SEGMENT_BYTES as u64 * 16 + 1_024
            <= CODED_BLOB_BYTES_MAX - SEALED_CONTENT_BYTES_MAX
    );
    assert!(SEALED_WRAPS_PER_TX_MAX <= SEALED_WRAPS_MAX as usize);
    assert!(MANIFEST_BYTES_MAX <= DECODE_BYTES_MAX);
    assert!(
        DATASET_CHUNKS_MAX as u64 / 2 * DATASET_CHUNK_BYTES_AVERAGE as u64 >= DATASET_BYTES_MAX
    );
    assert!(
        DATASET_PACKS_NEW_MAX as u64 * DATASET_PACK_BYTES_MAX / 2 + MANIFEST_BYTES_MAX as u64
            <= BLOCK_PAYLOAD_BYTES_MAX
    );
    assert!(
        DATASET_PACKS_NEW_MAX as u64 * DATASET_PACK_BYTES_MAX + MANIFEST_BYTES_MAX as u64
            <= MEMBER_PENDING_BYTES_MAX
    );
    assert!(
        DATASET_COLUMNS_MAX * (NAME_BYTES_MAX + 20 + 8 * TENSOR_DIMENSIONS_MAX)
            + (DATASET_PACKS_NEW_MAX + 1) * 70 * SEATS_MAX
            <= TX_BYTES_MAX
    );
    assert!(MASKED_MAX as usize * 128 + 4_096 <= TX_BYTES_MAX);
    assert!(MASKED_MAX <= PARTICIPANTS_MAX);
    assert!(DRIFT_MS_MAX < TX_VALIDITY_MS_MAX);
    assert!(WATERMARK_HEIGHTS < BLOCKS_KEPT_MIN);
    assert!(JOIN_ANSWER_BYTES_MAX <= DECODE_BYTES_MAX);
    assert!(NAME_BYTES_MAX <= u8::MAX as usize);
    assert!(PAGE_ROWS_MAX <= SEARCH_MODELS_MAX);
    assert!(ATTESTED_HEIGHTS_MAX * CHECKPOINT_INTERVAL_HEIGHTS > VIEW_HEIGHTS_MAX);
};
