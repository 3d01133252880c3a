//! The start page: what runs, what is learned, what was ordered last.

use super::{
    Answer, ModelRow, model_row, render,
    task::{TaskCard, task_card},
    term::{Term, term},
};
use crate::{
    api::{Api, Refusal, view},
    explorer::format::{bytes, time},
};
use askama::Template;
use twinfold_types::{
    Digest, Height,
    api::{BlockSummary, StatusView},
    model::Level,
};

const BLOCKS: usize = 10;
const TASKS: usize = 10;
const MODELS: usize = 5;

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    status: StatusView,
    height_time: String,
    term: Term,
    blocks: Vec<BlockRow>,
    tasks: Vec<TaskCard>,
    tasks_more: usize,
    published: Vec<ModelRow>,
}

struct BlockRow {
    height: Height,
    digest: Digest,
    time: String,
    txs: u32,
    bytes: String,
}

pub fn start(api: &Api) -> Answer {
    let reader = &api.node.reader;
    let mut tasks = reader.tasks()?;
    tasks.sort_by_key(|task| std::cmp::Reverse(task.created));
    let tasks_more = tasks.len().saturating_sub(TASKS);
    let cards: Result<Vec<_>, Refusal> =
        tasks.iter().take(TASKS).map(|task| task_card(api, task)).collect();
    let published = reader.models(None, Level::Global, None, MODELS)?;
    let published: Result<Vec<_>, _> =
        published.into_iter().map(|(id, record)| view::model(reader, id, record)).collect();
    let status = view::status(&api.node);
    render(&Start {
        height_time: time(status.time),
        term: term(&api.node)?,
        blocks: view::blocks(reader, None, BLOCKS)?.into_iter().map(block_row).collect(),
        tasks: cards?,
        tasks_more,
        published: published?.into_iter().map(model_row).collect(),
        status,
    })
}

fn block_row(block: BlockSummary) -> BlockRow {
    let BlockSummary { height, digest, txs, .. } = block;
    BlockRow { height, digest, time: time(block.time), txs, bytes: bytes(block.bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::pages::{
        task::Picture,
        term::{Fault, Row},
    };
    use twinfold_types::{Epoch, PublicKey};

    fn page_with(tasks: Vec<TaskCard>) -> Start {
        let status = StatusView {
            chain: "test".into(),
            genesis: Digest::ZERO,
            version: "0".into(),
            node: PublicKey([1; 32]),
            seat: None,
            epoch: Default::default(),
            view: Default::default(),
            leader: Default::default(),
            committed: Height(3),
            height: Height(3),
            time: Default::default(),
            state_root: Digest::ZERO,
            first_block: Height(1),
            checkpoint: None,
            join: None,
            peers: vec![],
            pool_txs: 0,
            pool_bytes: 0,
            relayed_bytes: 0,
            commit_ms_p50: Some(41.7),
            commit_ms_p99: None,
            halted: None,
        };
        let (height_time, tasks_more) = (time(status.time), 0);
        let (blocks, published) = (vec![], vec![]);
        Start { status, height_time, term: running(), blocks, tasks, tasks_more, published }
    }

    fn row(place: &str, name: &str, note: &str) -> Row {
        Row {
            place: place.into(),
            name: name.into(),
            organisation: "clinic".into(),
            stake: "1 000 000".into(),
            own: "900".into(),
            signed: "12 of 13".into(),
            is_this_node: false,
            connected: true,
            leads: true,
            note: note.into(),
            grave: false,
        }
    }

    fn running() -> Term {
        let fault = Fault { epoch: Epoch(5), name: "site-3".into(), offence: "signed two things" };
        Term {
            number: Epoch(7),
            state: "Runs until tomorrow.".into(),
            first: Height(41),
            changes: "Joined: site-5.".into(),
            seats: vec![row("0", "site-1", "")],
            candidates: vec![row("6", "site-6", "not ready for a seat")],
            faults: vec![fault],
        }
    }

    #[test]
    fn the_start_page_shows_the_running_epoch_its_candidates_and_proven_faults() {
        let html = page_with(vec![]).render().unwrap();
        let shown = [
            "Epoch 7",
            "Runs until tomorrow.",
            "Joined: site-5.",
            "href=\"/epochs\"",
            "12 of 13",
            "leads",
            "site-6",
            "not ready for a seat",
            "signed two things",
        ];
        for part in shown {
            assert!(html.contains(part), "{part} is missing:\n{html}");
        }
    }

    fn card(text: &str, picture: Option<Picture>) -> TaskCard {
        let (name, description) = (text.to_string(), text.to_string());
        TaskCard { name, description, status: "open", merges: 0, picture, models: vec![] }
    }

    #[test]
    fn a_tasks_name_cannot_break_out_of_its_page() {
        let evil = "\"><script>x</script>/../a b";
        let html = page_with(vec![card(evil, None)]).render().unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("href=\"/task/%22%3E%3Cscript%3Ex%3C%2Fscript%3E"), "{html}");
    }

    #[test]
    fn the_start_page_shows_curves_and_says_whose_figures_they_are() {
        let picture = Picture {
            what: "accuracy",
            newest: "91.0 %".into(),
            svg: "<svg></svg>".into(),
            legend: vec![("blue", "all clusters".into())],
        };
        let html = page_with(vec![card("digits", Some(picture))]).render().unwrap();
        assert!(html.contains("<svg></svg>") && html.contains("as trainers report it"), "{html}");
        assert!(html.contains("42 ms median"), "{html}");
        // The policy allows no scripts and no inline styles.
        assert!(!html.contains("<script") && !html.contains("style="), "{html}");
    }
}
