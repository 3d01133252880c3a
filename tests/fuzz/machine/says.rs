//! What the fuzzer has the other seats say, and what the driver answers.

use super::{
    Bytes, keys,
    play::{Play, SEATS, checkpoint},
};
use twinfold_consensus::Event;
use twinfold_types::{
    Block, Digest, Epoch, Header, Height, PublicKey, SeatIndex, Signature, TimeMs, View,
    block::body_digest,
    codec,
    key::Statement,
    limits::MESSAGE_BYTES_MAX,
    message::{CommittedBlocks, ConsensusMessage, Status},
    vote::{
        Certificate, CheckpointCertificate, CheckpointVote, NewView, NewViewBody, ViewChange,
        ViewChangeBody, ViewChangeHeader, Vote, VoteBody, VoteKind,
    },
};

/// Views that are spoken of.
const VIEWS: u64 = 12;
const QUORUM: usize = 3;

impl Play {
    pub(super) fn key(&self, seat: Option<SeatIndex>) -> PublicKey {
        keys::signer(seat.map_or(SEATS as usize, SeatIndex::index), false).public_key()
    }

    /// From a seat other than the machine's own.
    pub(super) fn message(&self, message: ConsensusMessage) -> Event {
        let other = if self.seat == Some(SeatIndex(0)) { SeatIndex(1) } else { SeatIndex(0) };
        Event::Message { from: self.key(Some(other)), message }
    }

    pub(super) fn raw(&self, bytes: &[u8]) -> Option<Event> {
        codec::decode(bytes, MESSAGE_BYTES_MAX).ok().map(|message| self.message(message))
    }

    /// Nobody signs for the machine's own seat.
    fn sign(
        &self,
        seat: SeatIndex,
        statement: impl Fn(&Digest, &Digest) -> Statement,
    ) -> Signature {
        match Some(seat) == self.seat {
            true => Signature([0; 64]),
            false => keys::signer(seat.index(), false)
                .sign(&statement(&self.chain, &self.committee.digest())),
        }
    }

    fn others(&self) -> impl Iterator<Item = SeatIndex> + use<> {
        let own = self.seat;
        let others = (0..SEATS as u16).map(SeatIndex).filter(move |seat| Some(*seat) != own);
        others.take(QUORUM)
    }

    fn block(&self, index: u64) -> (Digest, Height, TimeMs) {
        self.blocks[index as usize % self.blocks.len()]
    }

    pub(super) fn know(&mut self, block: &Block) {
        let digest = block.digest();
        if self.blocks.iter().all(|(known, ..)| *known != digest) {
            self.blocks.push((digest, block.header.height, block.header.time));
            self.bodies.push(block.clone());
        }
    }

    /// Of a kind, a view, and a block that exists, mostly at its own height.
    fn vote_body(&self, bytes: &mut Bytes<'_>) -> Option<VoteBody> {
        let (kind, view, index) = (bytes.byte()?, bytes.number()?, bytes.number()?);
        let (digest, height, _) = self.block(index);
        let height = if kind >= 250 { Height(index * 40) } else { height };
        let kind = if kind % 2 == 0 { VoteKind::Prepare } else { VoteKind::Commit };
        Some(VoteBody { kind, epoch: Epoch(0), view: View(view % VIEWS), height, digest })
    }

    pub(super) fn vote(&self, bytes: &mut Bytes<'_>) -> Option<Vote> {
        let seat = SeatIndex(u16::from(bytes.byte()?) % SEATS as u16);
        let body = self.vote_body(bytes)?;
        let signature = self.sign(seat, |chain, committee| body.statement(chain, committee));
        Some(Vote { body, seat, signature })
    }

    fn certificate(&self, bytes: &mut Bytes<'_>) -> Option<Certificate> {
        let body = self.vote_body(bytes)?;
        let sign =
            |seat| (seat, self.sign(seat, |chain, committee| body.statement(chain, committee)));
        Some(Certificate { body, signatures: self.others().map(sign).collect() })
    }

    pub(super) fn proposal(&mut self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let view = View(bytes.number()? % VIEWS);
        let (parent, below, parent_time) = self.block(bytes.number()?);
        let time = parent_time.plus(bytes.number()? * 16);
        let header = Header {
            chain: self.chain,
            protocol: twinfold_types::limits::PROTOCOL_VERSION,
            epoch: Epoch(0),
            height: below.next(),
            parent,
            time,
            body: body_digest(&[]),
        };
        let block = Block { header, txs: vec![] };
        self.know(&block);
        let (seat, digest, height) = (self.committee.leader(view), block.digest(), below.next());
        let body = VoteBody { kind: VoteKind::PrePrepare, epoch: Epoch(0), view, height, digest };
        let signature = self.sign(seat, |chain, committee| body.statement(chain, committee));
        let vote = Vote { body, seat, signature };
        Some(self.message(ConsensusMessage::PrePrepare { vote, block: Box::new(block) }))
    }

    fn header(&self, seat: SeatIndex, view: View, claim: Option<VoteBody>) -> ViewChangeHeader {
        let body = ViewChangeBody { epoch: Epoch(0), view, claim };
        let signature = self.sign(seat, |chain, committee| body.statement(chain, committee));
        ViewChangeHeader { body, seat, signature }
    }

    fn claim(&self, bytes: &mut Bytes<'_>) -> Option<Option<Certificate>> {
        Some(match bytes.byte()? % 3 {
            0 => None,
            _ => Some(self.certificate(bytes)?),
        })
    }

    pub(super) fn view_change(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let seat = SeatIndex(u16::from(bytes.byte()?) % SEATS as u16);
        let view = View(bytes.number()? % VIEWS);
        let certificate = self.claim(bytes)?;
        let header = self.header(seat, view, certificate.as_ref().map(|it| it.body));
        let change = ViewChange { header, certificate };
        Some(self.message(ConsensusMessage::ViewChange(Box::new(change))))
    }

    /// Of a view that another seat leads.
    pub(super) fn new_view(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let view = View(bytes.number()? % VIEWS);
        let certificate = self.claim(bytes)?;
        let claim = certificate.as_ref().map(|it| it.body);
        let headers = self.others().map(|seat| self.header(seat, view, claim)).collect();
        let body = NewViewBody { epoch: Epoch(0), view, headers, certificate };
        let leader = self.committee.leader(view);
        let signature = self.sign(leader, |chain, committee| body.statement(chain, committee));
        Some(self.message(ConsensusMessage::NewView(Box::new(NewView { body, signature }))))
    }

    pub(super) fn checkpoint(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let seat = SeatIndex(u16::from(bytes.byte()?) % SEATS as u16);
        let (block, height, _) = self.block(bytes.number()?);
        let checkpoint = checkpoint(height, block, bytes.byte()? / 200);
        let signature = self.sign(seat, |chain, committee| checkpoint.statement(chain, committee));
        let vote = CheckpointVote { checkpoint, seat, signature };
        Some(self.message(ConsensusMessage::Checkpoint(vote)))
    }

    pub(super) fn stable(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let (block, height, _) = self.block(bytes.number()?);
        let far = bytes.number()?;
        let height = if far >= 250 { Height(far * 7) } else { height };
        let checkpoint = checkpoint(height, block, (far % 50 == 49) as u8);
        let sign = |seat| {
            (seat, self.sign(seat, |chain, committee| checkpoint.statement(chain, committee)))
        };
        let signatures = self.others().map(sign).collect();
        let certificate = CheckpointCertificate { checkpoint, signatures };
        Some(self.message(ConsensusMessage::Stable(Box::new(certificate))))
    }

    pub(super) fn built(&mut self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let ahead = bytes.number()? * 4;
        let (view, parent, parent_time) = self.build.take()?;
        let time = TimeMs(self.now).max(parent_time.plus(1)).plus(ahead);
        Some(Event::Built { view, parent, time, txs: vec![] })
    }

    /// Where a peer stands, what it asks for, and that it is there.
    pub(super) fn status(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let (what, number) = (bytes.byte()?, bytes.number()?);
        let (digest, height, _) = self.block(number);
        let message = match what % 5 {
            0 => {
                return Some(Event::Connected { peer: self.key(Some(SeatIndex(what as u16 % 4))) });
            }
            1 => ConsensusMessage::GetBlock { height, digest },
            2 => ConsensusMessage::GetCommitted { from: height },
            3 => ConsensusMessage::Block(Box::new(self.bodies.get(number as usize)?.clone())),
            _ => ConsensusMessage::Status(Status {
                epoch: Epoch(0),
                view: View(number % VIEWS),
                installed: what % 2 == 0,
                committed: height,
                stable: Height(number / 16),
                reply: what % 4 == 0,
            }),
        };
        Some(self.message(message))
    }

    /// One block, and a certificate of it.
    pub(super) fn committed(&self, bytes: &mut Bytes<'_>) -> Option<Event> {
        let certificate = self.certificate(bytes)?;
        let blocks = self.bodies.iter().filter(|block| block.digest() == certificate.body.digest);
        let blocks = blocks.cloned().collect();
        let committed = CommittedBlocks { blocks, certificate };
        Some(self.message(ConsensusMessage::Committed(Box::new(committed))))
    }
}
