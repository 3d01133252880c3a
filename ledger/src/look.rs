//! Typed reads of one view.

use crate::{
    error::LedgerError,
    rocks::{Order, View},
    round,
    store::{self, Column},
};
use serde::{Serialize, de::DeserializeOwned};
use twinfold_types::{
    ClusterId,
    model::ModelId,
    round::{Entry, FoldJob, Round, RoundKey},
    state_key::{self, StateKey},
    task::{Cluster, Regions, Task, regions::Region},
};

type Result<T> = std::result::Result<T, LedgerError>;

pub struct Look<'a>(pub View<'a>);

impl Look<'_> {
    pub fn decode<T: Serialize + DeserializeOwned>(&self, bytes: &[u8], what: &str) -> Result<T> {
        store::decode(bytes, what, |why| self.0.damaged(why))
    }

    pub fn value<T: Serialize + DeserializeOwned>(
        &self,
        column: Column,
        key: &[u8],
        what: &str,
    ) -> Result<Option<T>> {
        self.0.get(column, key)?.map(|bytes| self.decode(&bytes, what)).transpose()
    }

    pub fn state<T: Serialize + DeserializeOwned>(&self, key: &StateKey) -> Result<Option<T>> {
        self.value(Column::State, key.bytes(), "state")
    }

    pub fn expect<T: Serialize + DeserializeOwned>(&self, key: &StateKey) -> Result<T> {
        let missing = || self.0.damaged(format!("no value under state key {:02x?}", key.bytes()));
        self.state(key)?.ok_or_else(missing)
    }

    pub fn scan<T: Serialize + DeserializeOwned>(
        &self,
        prefix: &StateKey,
        beyond: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>> {
        let rows = self.0.rows(Column::State, prefix.bytes(), beyond, order, limit)?;
        let decode = |(key, bytes): (Vec<u8>, Vec<u8>)| Ok((key, self.decode(&bytes, "state")?));
        rows.into_iter().map(decode).collect()
    }

    pub fn all<T: Serialize + DeserializeOwned>(&self, prefix: &StateKey) -> Result<Vec<T>> {
        let rows = self.scan(prefix, None, Order::Forward, usize::MAX)?;
        Ok(rows.into_iter().map(|(_, value)| value).collect())
    }

    pub fn model_of(&self, key: &[u8]) -> Result<ModelId> {
        store::parse_model_suffix(key)
            .ok_or_else(|| self.0.damaged(format!("model index {key:02x?}")))
    }

    /// Every cluster of a task, in order.
    pub fn clusters(&self, task: &Task) -> Result<Vec<Cluster>> {
        let ids = (0..task.spec.clusters).map(ClusterId);
        ids.map(|id| self.expect(&state_key::cluster(&task.id, id))).collect()
    }

    /// Every region of a task, in order; none where it has none.
    pub fn regions(&self, task: &Task) -> Result<Vec<Region>> {
        let ids = task.spec.regions.iter().flat_map(Regions::ids);
        ids.map(|id| self.expect(&state_key::region(&task.id, id))).collect()
    }

    /// The folding that a task waits for.
    pub fn jobs(&self, task: &Task) -> Result<Vec<FoldJob>> {
        round::jobs(task, &|key| self.state(key), &|key| self.state(key), &|key| self.state(key))
    }

    /// The list of a round, in order.
    pub fn entries(&self, key: &RoundKey) -> Result<Vec<Entry>> {
        let round: Option<Round> = self.state(&state_key::round(key))?;
        let entries = 0..round.map_or(0, |round| round.entries);
        entries.map(|index| self.expect(&state_key::round_entry(key, index))).collect()
    }
}
