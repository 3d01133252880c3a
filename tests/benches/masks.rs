//! What masks cost, in seconds of one processor: a trainer to share its secrets, to check its shares and to mask
//! an update; execution to check what is said; whoever folds to unmask the sum, with nobody missing and with a
//! third. Beside adding up the words alone.

use crate::{
    cpu,
    lab::Lab,
    report::{Line, Report},
};
use color_eyre::eyre::{Context, ContextCompat, Result};
use twinfold_cli::{task::TaskOptions, tensor_file::ImportedModel};
use twinfold_fl::{
    Layout,
    mask::{
        self, RoundSecret, Words, check_deal, check_release, noise::add_noise, reconstruct,
        secret::Shares,
    },
};
use twinfold_types::{
    ClusterId, Digest, PublicKey, RoundNumber, TaskId,
    model::{TensorPolicy, TensorSpec},
    round::RoundKey,
    task::{
        TaskSpec,
        masks::{Deal, MaskKeys, Masker, Masking},
    },
};

const BENCH: &str = "masks";

pub fn run(report: &mut Report, _: &mut Lab) -> Result<()> {
    for (members, values) in [(8, 1_000_000), (32, 1_000_000), (100, 1_000_000), (100, 100_000)] {
        let work = format!("{members} members × {values} values of 16 bits");
        if report.wants(&work) {
            of_size(report, &work, members, values)?;
        }
    }
    let work = "noise, 1,000,000 values";
    if report.wants(work) {
        let mut values = vec![0; 1_000_000];
        let taken = seconds(|| add_noise(&mut values, 1 << 24, &mut rand::random))?;
        report.line(Line::new(
            BENCH,
            work,
            "drawing a discrete Gaussian",
            taken * 1e3,
            "ns/value",
        ))?;
    }
    Ok(())
}

fn of_size(report: &mut Report, work: &str, members: usize, values: usize) -> Result<()> {
    let spec = spec(members, values)?;
    let layout = Layout::of(&spec.tensors)?;
    let bytes = spec.masked_bytes().wrap_err("it is masked")? as f64;
    let round =
        RoundKey { task: TaskId(Digest([1; 32])), cluster: ClusterId(0), round: RoundNumber(0) };
    let secrets = (0..members).map(|_| RoundSecret::new(rand::random(), round));
    let secrets: Vec<_> = secrets.collect();
    let keys: Vec<_> = secrets.iter().map(RoundSecret::keys).collect();
    let mut deals = vec![];
    let dealing = seconds(|| {
        let all = secrets.iter().enumerate();
        deals = all.filter_map(|(me, secret)| secret.deal(&keys, me)).collect();
    })? / members as f64;
    let mut good = true;
    let checking = seconds(|| good = check_deal(&round, &keys, 0, &deals[0]))?;
    color_eyre::eyre::ensure!(good, "an honest deal is taken");
    let mut masking = joined(round, &keys);
    let mut shares = vec![];
    let opening = seconds(|| shares = open(&secrets[0], &keys, &deals, 0))?;

    let integers = vec![5; values];
    let mut update = vec![];
    let masks = seconds(|| {
        let masked = mask::mask(&spec, &layout, &secrets[0], &masking, 0, &integers, 1);
        update = masked.unwrap_or_default();
    })?;
    let line = |metric: &str, value: f64, unit| Line::new(BENCH, work, metric, value, unit);
    report.line(line("a trainer deals", dealing * 1e3, "ms"))?;
    report.line(line("a trainer opens its shares", opening * 1e3, "ms"))?;
    report.line(line("a trainer masks", masks * 1e3, "ms"))?;
    report.line(line("execution checks a deal", checking * 1e3, "ms"))?;

    let mut words = Words::new(&spec, &layout).wrap_err("it is masked")?;
    let adding = seconds(|| (0..members).for_each(|_| words.add(&update)))?;
    let adding_gb_s = bytes * members as f64 / adding / 1e9;
    for missing in [0, members - twinfold_types::task::masks::threshold(members)] {
        let sent = members - missing;
        masking.members.iter_mut().enumerate().for_each(|(at, one)| one.sent = at < sent);
        let needed = masking.threshold();
        let places: Vec<_> = (0..needed).collect();
        let released = places.iter().map(|me| {
            let shares = open(&secrets[*me], &keys, &deals, *me);
            RoundSecret::released(&masking, &shares)
        });
        let released: Vec<_> = released.collect();
        if missing == 0 {
            let commitments: Vec<_> = deals.iter().map(|deal| deal.own[0]).collect();
            let taken = seconds(|| good = check_release(&commitments, &released[0]))?;
            color_eyre::eyre::ensure!(good, "honest shares are taken");
            report.line(line("execution checks a release", taken * 1e3, "ms"))?;
            let made =
                seconds(|| masking.secrets = reconstruct(&places, &released).unwrap_or_default())?;
            report.line(line("execution makes the secrets", made * 1e3, "ms"))?;
        } else {
            masking.secrets = reconstruct(&places, &released).wrap_err("enough shares")?;
        }
        let taken = seconds(|| words.unmask(&masking))?;
        let drawn = bytes * (sent + missing * sent) as f64;
        report.line(line(&format!("unmasking, {missing} missing"), taken, "s"))?;
        report.line(
            line(&format!("masks drawn, {missing} missing"), drawn / taken / 1e9, "GB/s")
                .beside("adding the words alone", Some(adding_gb_s)),
        )?;
    }
    Ok(())
}

fn spec(members: usize, values: usize) -> Result<TaskSpec> {
    let shape = vec![values as u64];
    let (name, policy) = ("values".into(), TensorPolicy::Train);
    let tensors = vec![TensorSpec { name, shape, scale: 20, policy }];
    let options = TaskOptions {
        name: "masks".into(),
        participants_min: 8,
        participants_max: members as u32,
        weight_max: 1,
        extensions: 0,
        mask_range: Some(1.0),
        compress: "q16".parse().map_err(color_eyre::eyre::Error::msg)?,
        ..TaskOptions::default()
    };
    options.spec(&ImportedModel { tensors, steps: vec![0; values] }).wrap_err("a masked task")
}

fn joined(round: RoundKey, keys: &[MaskKeys]) -> Masking {
    let member = |(index, keys): (u8, &MaskKeys)| {
        let trainer = PublicKey([index; 32]);
        Masker { trainer, keys: *keys, dealt: true, sent: false, released: false }
    };
    let members = (0..).zip(keys).map(member).collect();
    Masking { members, ..Masking::new(round) }
}

fn open(secret: &RoundSecret, keys: &[MaskKeys], deals: &[Deal], me: usize) -> Vec<Shares> {
    let opened = deals.iter().enumerate().filter_map(|(dealer, deal)| {
        secret.open(&keys[dealer], me, &deal.to(dealer as u32, me as u32)?)
    });
    opened.collect()
}

/// Seconds of processor time.
fn seconds(work: impl FnOnce()) -> Result<f64> {
    let before = cpu::of_this_process()?;
    let started = std::time::Instant::now();
    work();
    let clock = started.elapsed().as_secs_f64();
    // The kernel counts in hundredths: what is shorter goes by the clock.
    let counted = cpu::of_this_process()? - before;
    Ok(if counted < 0.1 { clock } else { counted })
}
