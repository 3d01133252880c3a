//! One node of four serves its API over TLS, with a certificate of a private authority
//! that the client is told to trust. The certificates here are for tests only.

use crate::lab::{Lab, until};
use std::{fs, path::Path};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/tls");
/// No node could be reached.
const UNREACHABLE: i32 = 4;

#[test]
fn the_api_speaks_tls_where_it_is_configured() {
    let mut lab = Lab::form(1);
    half_a_configuration_is_refused(&lab);
    configure(&lab, &["certificate.pem", "key.pem"]);
    (0..4).for_each(|index| lab.start_node(index));
    let (plain, authority) = (lab.url(0), format!("{FOLDER}/ca.pem"));
    let secure = plain.replace("http://", "https://");
    until("the node answers over TLS", || {
        let said = lab.twinfold("--node {} --ca {} status", &[&secure, &authority]);
        (said.code == Some(0)).then_some(())
    });
    let line = "--node {} --ca {} --key ann proposal new set-quota --organisation x --trainers 1";
    lab.twinfold(line, &[&secure, &authority]).ok();
    lab.twinfold("--node {} status", &[&secure]).refused(UNREACHABLE, &["certificate"]);
    lab.twinfold("--node {} status", &[&plain]).refused(UNREACHABLE, &[&plain]);
}

/// Points the first node to these files of the folder.
fn configure(lab: &Lab, files: &[&str]) {
    let config = lab.folder_of(0).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let others = text.lines().filter(|line| !line.contains("tls_"));
    let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
    for (name, file) in ["tls_certificate", "tls_key"].iter().zip(files) {
        let path = Path::new(FOLDER).join(file);
        let line = format!("[http]\n{name} = {:?}", path.display().to_string());
        text = text.replacen("[http]", &line, 1);
    }
    fs::write(config, text).unwrap();
}

fn half_a_configuration_is_refused(lab: &Lab) {
    let dir = lab.folder_of(0);
    configure(lab, &["certificate.pem"]);
    lab.refuses_to_start(&dir).refused(1, &["http.tls_certificate", "go together"]);
    configure(lab, &["key.pem", "key.pem"]);
    lab.refuses_to_start(&dir).refused(1, &["http.tls_certificate", "BEGIN CERTIFICATE"]);
    configure(lab, &["ca.pem", "key.pem"]);
    lab.refuses_to_start(&dir).refused(1, &["do not make a TLS identity"]);
    configure(lab, &["certificate.pem", "nothing.pem"]);
    lab.refuses_to_start(&dir).refused(1, &["http.tls_key", "nothing.pem"]);
}
