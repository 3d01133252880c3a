//! An honest node installs one new view of each view for good, and none whose base another
//! epoch certified.

use std::collections::BTreeMap;
use twinfold_types::{
    Epoch, View,
    vote::{NewView, NewViewBody, VoteBody},
};

#[derive(Default)]
pub struct OneBase(BTreeMap<(usize, Epoch, View), NewViewBody>);

impl OneBase {
    /// A node synced the record of an installed view.
    pub fn installed(&mut self, node: usize, new_view: &NewView) -> Result<(), String> {
        let body = &new_view.body;
        if let Some(base) = body.certificate.as_ref().filter(|base| base.body.epoch != body.epoch) {
            let (epoch, base) = (body.epoch, base.body);
            return Err(format!("one base: node {node} installs in epoch {epoch} on {base:?}"));
        }
        let first = self.0.entry((node, body.epoch, body.view)).or_insert_with(|| body.clone());
        if first != body {
            let base = |body: &NewViewBody| body.certificate.as_ref().map(|it| it.body);
            return Err(format!(
                "one base: node {node} installs view {} on {:?} and on {:?}",
                body.view,
                base(first),
                base(body)
            ));
        }
        Ok(())
    }

    /// What the view of a vote stands on at a node. None is the last block of the epoch before.
    pub fn base(&self, node: usize, vote: &VoteBody) -> Option<VoteBody> {
        let new_view = self.0.get(&(node, vote.epoch, vote.view))?;
        new_view.certificate.as_ref().map(|certificate| certificate.body)
    }
}
