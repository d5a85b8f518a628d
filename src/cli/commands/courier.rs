//! `localml courier`.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{
    CourierListReport, CourierShowReport, CourierWithdrawReport, DamagedCourier, Error, courier_list,
    courier_show, courier_withdraw, show_fingerprint, show_full_fingerprint,
};
use crate::package::Name;

/// Couriers: who may vouch here for what no publisher signed
///
/// A courier signs with `localml export DIR --sign`; a site authorises one with `localml import DIR --courier
/// FINGERPRINT`. What came in so is labelled for ever.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml courier show\n  localml courier list\n  localml courier withdraw kofi"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Show this home's own name and fingerprint as a courier
    Show,
    /// List the couriers whom this site believes
    List,
    /// Believe a courier no more; what came in stays, and stays labelled
    Withdraw {
        /// The courier's name, as `localml courier list` shows it
        name: Name,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let output = context.output;
    match &args.deed {
        Deed::Show => output.show(&courier_show(&context.home)?, |report| show_text(report, context)),
        Deed::List => {
            let report = courier_list(&context.home);
            output.show(&report, list_text);
            return Ok(if report.damaged.is_empty() { Outcome::Done } else { Outcome::Problems });
        }
        Deed::Withdraw { name } => output.show(&courier_withdraw(&context.home, name)?, withdraw_text),
    }
    Ok(Outcome::Done)
}

fn show_text(report: &CourierShowReport, context: &Context) -> String {
    let show = if context.is_verbose { show_full_fingerprint } else { show_fingerprint };
    format!(
        "you are the courier `{}`; your fingerprint, for the keepers, by telephone for example:\n{}",
        report.name,
        show(&report.fingerprint)
    )
}

fn list_text(report: &CourierListReport) -> String {
    if report.couriers.is_empty() && report.damaged.is_empty() {
        return "no courier is authorised here; `localml import DIR --courier FINGERPRINT` authorises one"
            .to_owned();
    }
    let line = |courier: &_| {
        let crate::ops::Courier { name, fingerprint, .. } = courier;
        format!("{name}\n{}", show_fingerprint(fingerprint))
    };
    let mut lines: Vec<String> = report.couriers.iter().map(line).collect();
    for DamagedCourier { message, hint } in &report.damaged {
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        lines.push(format!("NOT BELIEVED: {message}{hint}"));
    }
    lines.join("\n")
}

fn withdraw_text(report: &CourierWithdrawReport) -> String {
    let mut lines = vec![format!("the courier `{}` is believed no more", report.name)];
    lines.extend(report.packages.iter().map(|name| {
        format!("`{name}` came in by this courier and stays; `localml remove {name}` removes it")
    }));
    lines.join("\n")
}
