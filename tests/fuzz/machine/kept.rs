//! Plays worth keeping, in the bytes that `play.rs` reads: blocks that are committed, a leader's
//! turn, a change of view, a restart, catching up.

pub fn plays() -> Vec<(String, Vec<u8>)> {
    let vote = |seat: u8, kind: u8, view: u8, block: u8| vec![1, seat, kind, view, block];
    let votes = |kind, view, block| [0, 2, 3].map(|seat| vote(seat, kind, view, block)).concat();
    let propose = |view: u8, parent: u8| vec![5, view, parent, 1];
    let height = |view, parent, block| {
        [propose(view, parent), votes(0, view, block), votes(1, view, block), vec![14]].concat()
    };
    let checkpoints = |block: u8| [0, 2, 3].map(|seat| vec![9, seat, block, 0]).concat();
    let changes =
        |view: u8, claim: &[u8]| [0, 2, 3].map(|seat| [&[7, seat, view], claim].concat()).concat();
    let claim = [1, 0, 0, 1];
    let new_view = |view: u8| [&[8, view], &claim[..]].concat();
    let leads = [vec![0, 12, 0, 13, 1], votes(0, 0, 1), votes(1, 0, 1), vec![14, 12, 1, 11, 20]];
    let later = [changes(2, &claim), new_view(2), votes(0, 2, 1), votes(1, 2, 1), height(2, 1, 2)];
    vec![
        ("a_height".into(), [vec![1, 12, 0], height(0, 0, 1), checkpoints(1)].concat()),
        ("an_observer".into(), [vec![4], height(0, 0, 1), height(0, 1, 2)].concat()),
        ("a_leader".into(), leads.concat()),
        (
            "a_view_change_and_a_restart".into(),
            [vec![1, 12, 0], propose(0, 0), votes(0, 0, 1), later.concat(), vec![17, 11, 9]]
                .concat(),
        ),
        (
            "catching_up".into(),
            [
                vec![3],
                propose(0, 0),
                propose(0, 1),
                vec![10, 1, 0, 16, 1, 0, 1, 16, 1, 0, 2, 15, 2, 1],
            ]
            .concat(),
        ),
    ]
}
