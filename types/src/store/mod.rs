//! The model store: what a publisher says of a model it brings, what others say of it later,
//! and how much of that is taken. All of it is state, so that it is ordered, signed and proved
//! like everything else; the file itself is a payload beside the chain.

mod about;
mod metric;
mod publish;

pub use about::{FileForm, KINDS, ModelAbout, OnnxForm, Port, is_dataset, is_semantic_version};
pub use metric::{MeasureAction, Metric, MetricRecord, MetricValue};
pub use publish::{DeprecateAction, Deprecation, PublishAction, PublishedSteps};
