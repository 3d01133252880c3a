//! One of four validators holds its fragment and, when it is asked for it, lies, stalls, drips, breaks
//! off, or answers what was not asked. Whoever reads a payload gets it to the byte all the same, from
//! the others, and the log says who was left out.

use crate::lab::{
    Lab, members,
    payload_liar::{Manner, PayloadLiar},
};
use twinfold_cli::client::Cut;
use twinfold_types::SeatIndex;

const BYTES: usize = 5 << 20;
/// Data, which a reader that holds fragment 0 asks for first.
const SEAT: SeatIndex = SeatIndex(1);

#[test]
fn a_holder_that_misbehaves_spoils_no_download() {
    let mut lab = Lab::start();
    let content: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let file = lab.folder().join("payload");
    std::fs::write(&file, &content).unwrap();
    let stored = lab.client().put_file(&members::secret("tess"), &file, Cut::Fragments);
    let id = stored.expect("it is stored").blob;
    let by_seat =
        |seat| (0..4).find(|index| lab.status(*index).seat == Some(seat)).expect("a node");
    let (liar, reader) = (by_seat(SEAT), by_seat(SeatIndex(0)));
    let name = lab.network.nodes()[liar].name.clone();
    crate::lab::until("every seat has its fragment", || {
        let view = lab.client_of(reader).holders(&id.digest()).ok()?;
        (view.holders.len() == 4).then_some(())
    });
    lab.stop(liar);
    let misbehaving = PayloadLiar::start(&lab, liar, &content, SEAT.0);
    for manner in Manner::ALL {
        misbehaving.behave(manner);
        crate::lab::until(&format!("{manner:?}: it is asked, and the payload read"), || {
            let copy = lab.folder().join("copy");
            lab.client_of(reader).get_file(&id, &copy, &|_| {}).expect("it is read");
            assert!(std::fs::read(&copy).unwrap() == content, "{manner:?}");
            // After a lie it may be some seconds until the two are connected again.
            (misbehaving.asked() > 0).then_some(())
        });
    }
    let log = lab.log(reader);
    let left_out = log.lines().filter(|line| line.contains("is left out of this download"));
    let named: Vec<_> = left_out.collect();
    assert!(!named.is_empty(), "nobody was left out: {log}");
    assert!(named.iter().all(|line| line.contains(&name)), "an honest one is named: {named:#?}");
    drop(misbehaving);
    lab.restart(liar);
    lab.same_root();
}
