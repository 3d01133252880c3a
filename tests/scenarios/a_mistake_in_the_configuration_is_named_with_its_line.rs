//! What an operator may get wrong in files: named with place and cause, before the
//! node does anything.

use crate::lab::Lab;
use std::{fs, os::unix::fs::PermissionsExt};
use twinfold_types::genesis::FORMAT_VERSION;

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let lab = Lab::form(1);
    let dir = lab.folder_of(0);
    let config = dir.join("config.toml");
    let whole = fs::read_to_string(&config).unwrap();
    let with = |old: &str, new: &str, words: &[&str]| {
        assert!(whole.contains(old), "{old:?} is not in the configuration");
        let line = 1 + whole[..whole.find(old).unwrap()].matches('\n').count();
        fs::write(&config, whole.replacen(old, new, 1)).unwrap();
        let said = lab.refuses_to_start(&dir).refused(1, words);
        (said, format!("line {line}"))
    };
    let (said, line) = with("requests_per_second", "requests_per_secnd", &["requests_per_secnd"]);
    assert!(said.err.contains(&line), "{said:#?}");
    let (said, line) = with("format = \"human\"", "format = \"poem\"", &["poem", "human"]);
    assert!(said.err.contains(&line), "{said:#?}");
    let (said, line) = with("listen = \"127.0.0.1:", "listen = \"nowhere:", &["listen"]);
    assert!(said.err.contains(&line), "{said:#?}");
    with("filter = \"info,libp2p_swarm=warn\"", "filter = \"info=what=else\"", &["log.filter"]);
    with("genesis = \"genesis.json\"", "genesis = \"other.json\"", &["other.json"]);
    fs::write(&config, &whole).unwrap();

    a_genesis_file_that_is_none(&lab);
    a_key_that_was_swapped(&lab);
    fs::remove_file(&config).unwrap();
    lab.refuses_to_start(&dir).refused(1, &["config.toml"]);
}

fn a_genesis_file_that_is_none(lab: &Lab) {
    let dir = lab.folder_of(0);
    let path = dir.join("genesis.json");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    lab.refuses_to_start(&dir).refused(1, &["genesis.json", "line"]);
    let format = format!("\"format\": {FORMAT_VERSION}");
    assert!(whole.contains(&format));
    fs::write(&path, whole.replacen(&format, "\"format\": 99", 1)).unwrap();
    lab.refuses_to_start(&dir).refused(1, &["format 99"]);
    fs::write(&path, whole).unwrap();
}

fn a_key_that_was_swapped(lab: &Lab) {
    let (dir, other) = (lab.folder_of(0), lab.folder_of(1));
    let path = dir.join("keys/consensus.key");
    let whole = fs::read_to_string(&path).unwrap();
    let field = |text: &str, name: &str| {
        let start = text.find(&format!("\"{name}\": \"")).unwrap() + name.len() + 5;
        text[start..start + 64].to_string()
    };
    let theirs = fs::read_to_string(other.join("keys/consensus.key")).unwrap();
    let swapped = whole.replace(&field(&whole, "public"), &field(&theirs, "public"));
    fs::write(&path, swapped).unwrap();
    lab.refuses_to_start(&dir).refused(1, &["consensus.key", "was changed"]);
    fs::write(&path, whole).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "keys are for their owner only");
}
