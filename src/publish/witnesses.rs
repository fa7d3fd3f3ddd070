//! Asks the configured witnesses to cosign each new head, and keeps what they say.
//!
//! One round at a time for each log: all witnesses that answer are asked for the *same* head, so
//! that enough of them come together on it however fast the log grows; what was committed
//! meanwhile is in the next round. The authority log goes first: a trail that is vouched for never
//! refers to authority leaves that are not. An idle log is cosigned again now and then, since
//! agents go by the times of cosignatures. Where too few witnesses answer, nothing is relaxed: the
//! log says so, again and again, and asks on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::overdue::Overdue;
use super::witness_line::{Failure, WitnessLine};
use crate::app::{App, AppResult};
use crate::domain::Reason;
use crate::fault;
use crate::store::{Head, Log, Turn};
use crate::trail::NoteSignature;

/// Between two rounds of a log: what commits meanwhile is cosigned in one.
const PACE: Duration = Duration::from_millis(100);
/// How long a round waits for the slower witnesses once enough have cosigned.
const GRACE: Duration = Duration::from_millis(500);
/// How long a head may wait for enough witnesses before the log says so, and until it says so again.
const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const REMINDER: Duration = Duration::from_secs(60);
/// Between two looks at whose turn it is, where several gateways share the database.
const TURN: Duration = Duration::from_secs(3);
/// How often the state is looked at unasked.
const TICK: Duration = Duration::from_millis(250);

/// One witness as it is known now.
struct Party {
    line: Arc<WitnessLine>,
    busy: bool,
    failures: u32,
    /// Not asked before.
    not_before: Instant,
}

/// The head of a log that is being cosigned.
struct Round {
    log: Log,
    head: Head,
    begun: Instant,
    /// When each witness cosigned it, by position.
    signed: Vec<Option<Instant>>,
    outstanding: usize,
    enough_since: Option<Instant>,
    /// Since when enough have been missing, over this head and those before it.
    short_since: Instant,
    alarmed: Option<Instant>,
}

struct Asked {
    party: usize,
    log: Log,
    head: Head,
    result: Result<NoteSignature, Failure>,
}

struct Coordinator {
    app: Arc<App>,
    required: usize,
    /// A cosignature older than this is asked for again.
    refresh: Duration,
    parties: Vec<Party>,
    rounds: [Round; 2],
    answers: mpsc::Sender<Asked>,
}

/// Asks until `stop`. `refresh`: how old a cosignature of the newest head may grow.
pub async fn run(app: Arc<App>, lines: Vec<WitnessLine>, refresh: Duration, stop: CancellationToken) {
    let lines: Vec<Arc<WitnessLine>> = lines.into_iter().map(Arc::new).collect();
    let mut overdue = Overdue::default();
    loop {
        // A database that does not answer does not hold up the stop.
        let turn = tokio::select! {
            () = stop.cancelled() => return,
            turn = app.store.turn() => turn,
        };
        match turn {
            Ok(Some(mut turn)) => {
                overdue = Overdue::default();
                tokio::select! {
                    () = stop.cancelled() => {}
                    done = coordinate(&app, &lines, refresh, &mut turn) => if let Err(error) = done {
                        tracing::error!(%error, "asking the witnesses begins anew");
                    }
                }
                turn.end(&app.store).await;
            }
            // Another gateway asks.
            Ok(None) => tokio::select! {
                () = stop.cancelled() => return,
                looked = overdue.look(&app) => if let Err(error) = looked {
                    tracing::warn!(%error, "whether the witnesses cosign is not known");
                }
            },
            Err(error) => tracing::warn!(%error, "whose turn it is to ask the witnesses is not known"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TURN) => {}
        }
    }
}

/// Until the turn is lost.
async fn coordinate(
    app: &Arc<App>,
    lines: &[Arc<WitnessLine>],
    refresh: Duration,
    turn: &mut Turn,
) -> AppResult<()> {
    let now = Instant::now();
    let (answers, mut incoming) = mpsc::channel(2 * lines.len().max(1));
    let party =
        |line: &Arc<WitnessLine>| Party { line: line.clone(), busy: false, failures: 0, not_before: now };
    let parties: Vec<Party> = lines.iter().map(party).collect();
    let heads = app.store.heads().await?;
    let round = |log, head| Round::new(log, head, parties.len(), now);
    let rounds = [round(Log::Authority, heads.authority), round(Log::Trail, heads.trail)];
    let mut changes = app.store.head_changes();
    let required = app.settings.witnessing.required;
    let mut coordinator = Coordinator { app: app.clone(), required, refresh, parties, rounds, answers };
    loop {
        coordinator.advance().await?;
        if !turn.keep(&app.store).await {
            tracing::warn!("the turn to ask the witnesses was lost");
            return Ok(());
        }
        coordinator.ask_all(turn.ends());
        coordinator.complain();
        tokio::select! {
            Some(asked) = incoming.recv() => {
                let mut all = vec![asked];
                while let Ok(more) = incoming.try_recv() {
                    all.push(more);
                }
                coordinator.take(all).await;
            }
            // The store is gone: so is what there was to cosign.
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

impl Round {
    fn new(log: Log, head: Head, parties: usize, now: Instant) -> Self {
        Self {
            log,
            head,
            begun: now,
            signed: vec![None; parties],
            outstanding: 0,
            enough_since: None,
            short_since: now,
            alarmed: None,
        }
    }

    /// Takes up a newer head. What is missing stays missing.
    fn go_on(&mut self, head: Head, now: Instant) {
        let short_since = if self.enough_since.is_some() { now } else { self.short_since };
        let alarmed = self.alarmed;
        *self = Round { short_since, alarmed, ..Round::new(self.log, head, self.signed.len(), now) };
    }

    /// Whether the next head may be taken up.
    fn is_over(&self, now: Instant) -> bool {
        let waited = self.enough_since.is_some_and(|since| now.duration_since(since) >= GRACE);
        now.duration_since(self.begun) >= PACE && (self.outstanding == 0 || waited)
    }

    fn wants(&self, party: usize, refresh: Duration, now: Instant) -> bool {
        self.signed[party].is_none_or(|at| now.duration_since(at) >= refresh)
    }

    /// Witnesses whose cosignature is not so old that agents would stop soon.
    fn fresh(&self, refresh: Duration, now: Instant) -> usize {
        let current = |at: &Instant| now.duration_since(*at) < 2 * refresh;
        self.signed.iter().flatten().filter(|at| current(at)).count()
    }
}

impl Coordinator {
    /// Takes up newer heads where a round is over.
    async fn advance(&mut self) -> AppResult<()> {
        let (heads, now) = (self.app.store.heads().await?, Instant::now());
        let [authority, trail] = &mut self.rounds;
        if authority.head.size != heads.authority.size && authority.is_over(now) {
            authority.go_on(heads.authority.clone(), now);
        }
        let behind = authority.head.size != heads.authority.size;
        if trail.head.size != heads.trail.size && trail.is_over(now) && !behind {
            trail.go_on(heads.trail, now);
        }
        Ok(())
    }

    /// Whoever has not answered by `end` did not answer.
    fn ask_all(&mut self, end: Option<Instant>) {
        let now = Instant::now();
        for (index, party) in self.parties.iter_mut().enumerate() {
            if party.busy || party.not_before > now {
                continue;
            }
            let Some(round) = self.rounds.iter_mut().find(|round| round.wants(index, self.refresh, now))
            else {
                continue;
            };
            party.busy = true;
            round.outstanding += 1;
            let (app, line, answers) = (Arc::clone(&self.app), Arc::clone(&party.line), self.answers.clone());
            let (log, head) = (round.log, round.head.clone());
            tokio::spawn(async move {
                let asked = line.ask(&app, log, &head);
                let result = match end {
                    Some(end) => timeout_at(end, asked).await.unwrap_or(Err(Failure::TurnOver)),
                    None => asked.await,
                };
                // Gone only when the gateway stops.
                let _ = answers.send(Asked { party: index, log, head, result }).await;
            });
        }
    }

    async fn take(&mut self, asked: Vec<Asked>) {
        let now = Instant::now();
        for log in [Log::Authority, Log::Trail] {
            let mut signed: Vec<(Head, Vec<NoteSignature>)> = Vec::new();
            for Asked { party, head, result, .. } in asked.iter().filter(|asked| asked.log == log) {
                self.note(*party, log, head, result, now);
                if let Ok(line) = result {
                    match signed.iter_mut().find(|(other, _)| other.size == head.size) {
                        Some((_, lines)) => lines.push(line.clone()),
                        None => signed.push((head.clone(), vec![line.clone()])),
                    }
                }
            }
            for (head, lines) in signed {
                self.keep(log, &head, lines).await;
            }
        }
    }

    /// What an answer says of the witness.
    fn note(
        &mut self,
        index: usize,
        log: Log,
        head: &Head,
        result: &Result<NoteSignature, Failure>,
        now: Instant,
    ) {
        let jitter = u64::from_be_bytes(self.app.entropy.array());
        let party = &mut self.parties[index];
        party.busy = false;
        let round = self.rounds.iter_mut().find(|round| round.log == log && round.head.size == head.size);
        if let Some(round) = round {
            round.outstanding = round.outstanding.saturating_sub(1);
            if result.is_ok() {
                round.signed[index] = Some(now);
            }
        }
        match result {
            Ok(_) => {
                if party.failures > 0 {
                    tracing::info!(witness = party.line.name(), "the witness answers again");
                }
                party.failures = 0;
            }
            Err(failure) => {
                party.failures = party.failures.saturating_add(1);
                party.not_before = now + failure.delay(party.failures, jitter);
                failure.log(party.line.name(), log, head.size, party.failures);
            }
        }
    }

    async fn keep(&mut self, log: Log, head: &Head, lines: Vec<NoteSignature>) {
        fault::point("cosignature.before");
        let kept = self.app.keep_cosignatures(log, head, lines).await;
        fault::point("cosignature.after");
        match kept {
            Ok(witnesses) => {
                let required = self.required;
                let round = self.rounds.iter_mut().find(|round| round.log == log);
                if let Some(round) = round.filter(|round| round.head.size == head.size)
                    && witnesses >= required
                {
                    round.enough_since.get_or_insert_with(Instant::now);
                }
            }
            // It is asked for again: only what is durable counts.
            Err(error) => {
                tracing::error!(%error, log = log.name(), "cosignatures could not be kept");
                for round in self.rounds.iter_mut().filter(|round| round.log == log) {
                    round.signed.fill(None);
                }
            }
        }
    }

    /// Says, loudly, where a head waits for witnesses.
    fn complain(&mut self) {
        let now = Instant::now();
        for round in &mut self.rounds {
            let have = round.fresh(self.refresh, now);
            if have >= self.required {
                round.short_since = now;
                if round.alarmed.take().is_some() {
                    tracing::info!(log = round.log.name(), have, "enough witnesses have cosigned again");
                }
                continue;
            }
            let waited = now.duration_since(round.short_since);
            let due = match round.alarmed {
                Some(last) => now.duration_since(last) >= REMINDER,
                None => waited >= PATIENCE,
            };
            if due {
                round.alarmed = Some(now);
                tracing::error!(
                    reason = Reason::WitnessesMissing.code(),
                    log = round.log.name(),
                    size = round.head.size,
                    have,
                    required = self.required,
                    "too few witnesses have cosigned the head: agents do not act, receipts stay signed"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64) -> Head {
        Head { size, checkpoint: String::new() }
    }

    #[test]
    fn a_round_waits_for_all_and_once_enough_have_cosigned_only_a_moment_longer() {
        let begun = Instant::now();
        let mut round = Round::new(Log::Trail, head(5), 3, begun);
        assert!(!round.is_over(begun), "what commits meanwhile is taken together");
        assert!(round.is_over(begun + PACE));
        round.outstanding = 2;
        let later = begun + Duration::from_secs(3);
        assert!(!round.is_over(later));
        round.enough_since = Some(later);
        assert!(!round.is_over(later) && round.is_over(later + GRACE));
    }

    #[test]
    fn a_log_that_grows_does_not_hide_that_witnesses_are_missing() {
        let begun = Instant::now();
        let mut round = Round::new(Log::Trail, head(5), 3, begun);
        let mut now = begun;
        for size in 6..100 {
            now += PACE;
            round.go_on(head(size), now);
        }
        assert_eq!(round.short_since, begun);
        round.enough_since = Some(now);
        round.go_on(head(100), now);
        assert_eq!(round.short_since, now);
    }

    #[test]
    fn an_idle_log_is_cosigned_again_before_agents_would_stop() {
        let (refresh, begun) = (Duration::from_secs(60), Instant::now());
        let mut round = Round::new(Log::Authority, head(5), 2, begun);
        assert!(round.wants(0, refresh, begun));
        round.signed[0] = Some(begun);
        assert!(!round.wants(0, refresh, begun));
        assert!(round.wants(0, refresh, begun + refresh));
        assert_eq!(round.fresh(refresh, begun + refresh), 1, "there is time to ask again");
        assert_eq!(round.fresh(refresh, begun + 2 * refresh), 0);
    }
}
