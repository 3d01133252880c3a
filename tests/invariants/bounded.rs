//! No honest vote for a height beyond the watermark above the own stable checkpoint, except for
//! the base of its view.

use twinfold_types::{
    Height,
    limits::WATERMARK_HEIGHTS,
    vote::{Vote, VoteBody},
};

pub fn spoke(vote: &Vote, stable: Height, base: Option<VoteBody>) -> Result<(), String> {
    let height = vote.body.height;
    let is_base = base.is_some_and(|base| base.height == height);
    if !is_base && height.0 > stable.0 + WATERMARK_HEIGHTS {
        return Err(format!(
            "bounded: seat {} says {:?} while height {stable} is stable",
            vote.seat, vote.body
        ));
    }
    Ok(())
}
