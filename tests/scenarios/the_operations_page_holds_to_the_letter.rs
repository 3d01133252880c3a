//! `docs/operations.md`, followed to the letter: its blocks marked `bash`, in their
//! order, in an empty folder, with both programs in the PATH. Only the ports are
//! others, so that the page's may be in use.

use crate::lab::programs;
use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PAGE: &str = include_str!("../../docs/operations.md");
/// Decades of ports on the page: HTTP, votes, payloads.
const DECADES: [&str; 3] = ["778", "779", "780"];
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn the_operations_page_holds_to_the_letter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = folder.path().join("said");
    let script = format!("set -euo pipefail\nset -x\n{}", blocks(&with_free_ports(PAGE)));
    let script_file = folder.path().join("script");
    fs::write(&script_file, &script).unwrap();
    let place = folder.path().join("empty");
    fs::create_dir(&place).unwrap();
    let bin = programs().node.parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let out = File::create(&said).unwrap();
    let mut command = Command::new("bash");
    command
        .arg(&script_file)
        .current_dir(&place)
        .env("PATH", path)
        .env("HOME", &place)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .process_group(0);
    let mut group = Group(command.spawn().expect("bash starts"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = group.0.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let ended_well = status.is_some_and(|status| status.success());
    if !ended_well {
        for log in ["site-1.log", "site-4.log", "observer.log"] {
            let text = fs::read_to_string(place.join(log)).unwrap_or_default();
            eprintln!("--- {log} ends with:\n{}\n", last_lines(&text, 15));
        }
        let text = fs::read_to_string(&said).unwrap_or_default();
        panic!("the page's commands ended with {status:?}:\n{}", last_lines(&text, 40));
    }
    // Everything that the page started has ended.
    let left: Vec<_> = fs::read_dir(&place)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "pid"))
        .filter(|path| {
            let id = fs::read_to_string(path).unwrap();
            fs::metadata(format!("/proc/{}", id.trim())).is_ok()
        })
        .collect();
    assert!(left.is_empty(), "still running: {left:?}");
}

/// The page's commands, in order.
fn blocks(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```bash" => inside = true,
            "```" => inside = false,
            line if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    assert!(script.contains("genesis new") && script.contains("observer"), "{script}");
    script
}

/// `778$i` and `7785` become `PPPP$i` and `PPPP5`, where PPPP0 to PPPP9 are free.
fn with_free_ports(page: &str) -> String {
    let mut free = (2_000..3_200).step_by(7).filter(|decade| is_free(*decade));
    let mut text = page.to_string();
    for decade in DECADES {
        let other = free.next().expect("ten free ports in a row").to_string();
        for before in [":", "/tcp/", "height "] {
            text = text.replace(&format!("{before}{decade}"), &format!("{before}{other}"));
        }
    }
    text
}

fn is_free(decade: u16) -> bool {
    (decade * 10..decade * 10 + 10).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The script and all that it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}
