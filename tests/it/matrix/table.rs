//! The table of a run, and its figures.

use super::case::{Done, Fault};
use super::classes;
use std::collections::BTreeMap;

const LEGEND: &str = "\
one letter for each call of that name in one refresh, in their order
killed:  - nothing had been sent   n in doubt, and the server had not seen it   k in doubt, kept
         L in doubt, lost as the table allows   c all was committed
failed:  = nothing to be noticed   r told, tried again, done   f the wish was answered with the failure, then done
wrong:   X lost outside the table   ! the fault did not fire";

/// Numbers of calls, and what became of them.
type Cell = Vec<(usize, char)>;

/// Tells of a wave at once what was wrong in it.
pub(super) fn tell(class: &str, all: &[Done]) {
    for done in all {
        for wrong in &done.wrong {
            println!(
                "WRONG: {class}, {} {} number {} ({}): {wrong}",
                done.fault.label(),
                done.point.label(),
                done.point.nth,
                done.grant
            );
        }
    }
}

/// Prints it all; fails if anything was wrong.
pub(super) fn show(all: &[(usize, Done)]) {
    let mut rows: BTreeMap<(Fault, String), BTreeMap<usize, Cell>> = BTreeMap::new();
    for (class, done) in all {
        let row = rows.entry((done.fault, done.point.label())).or_default();
        row.entry(*class)
            .or_default()
            .push((done.point.nth, done.mark));
    }
    let widths: Vec<usize> = classes()
        .iter()
        .enumerate()
        .map(|(class, (name, _))| {
            let cells = rows.values().filter_map(|row| row.get(&class));
            cells.map(Vec::len).max().unwrap_or(0).max(name.len())
        })
        .collect();
    let head = classes()
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    println!("{}", line("fault", "call", &widths, head));
    for ((fault, call), mut row) in rows {
        let cells = (0..widths.len()).map(|class| {
            let mut cell = row.remove(&class).unwrap_or_default();
            cell.sort_unstable();
            cell.into_iter().map(|(_, mark)| mark).collect()
        });
        println!("{}", line(&fault.label(), &call, &widths, cells.collect()));
    }
    println!("{LEGEND}\n");
    figures(all);
}

fn line(fault: &str, call: &str, widths: &[usize], cells: Vec<String>) -> String {
    let cells = widths
        .iter()
        .zip(cells)
        .map(|(w, cell)| format!("{cell:<w$}", w = *w));
    let cells: Vec<String> = cells.collect();
    format!("{fault:<8} {call:<24} {}", cells.join(" "))
        .trim_end()
        .to_owned()
}

fn figures(all: &[(usize, Done)]) {
    let count = |what: &dyn Fn(&Done) -> bool| all.iter().filter(|(_, done)| what(done)).count();
    let fired = count(&|done| done.mark != '!');
    let wrong = count(&|done| !done.wrong.is_empty());
    println!("figure faults_planned {}", all.len());
    println!(
        "figure kills {}",
        count(&|d| d.fault == Fault::Kill && d.mark != '!')
    );
    println!("figure kills_in_doubt {}", count(&|d| d.in_doubt));
    println!(
        "figure grants_lost_as_allowed {}",
        count(&|d| d.mark == 'L')
    );
    println!("figure cases_wrong {wrong}");
    println!("figure faults_fired {fired}");
    println!(
        "figure grants_lost_outside_table {}",
        count(&|d| d.mark == 'X')
    );
    assert!(fired == all.len() && fired > 0, "not every fault fired");
    assert_eq!(wrong, 0, "see the lines that begin with WRONG");
}
