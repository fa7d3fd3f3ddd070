//! What was taken comes again, after the keys that signed it have left (decision 0025).
//!
//! A `jti` is used up for ever, and the same payload again gets the first answer (DESIGN §6). Whoever lost that
//! answer may ask after a rotation, a recovery, or when the trail has another origin: today's key set says nothing of
//! it then. So the repeat is held against the set that was in force when the first was judged. It has no effect;
//! nothing new is ever taken in this way, and what does not fit is refused as if nobody had looked.
//!
//! Only what the newest set refuses comes here. Everything is looked for under the caller's own id.

use crate::authority::precedent::{Precedent, precedent};
use crate::domain::{ControllerId, InstructionId};
use crate::store::instructions::{self, InstructionRow};
use crate::store::{Conn, StoreError};
use crate::token::{Detached, Envelope, Expected, KeySet, Says};

use super::approvals::{approved, signed, stored};
use super::key_sets::in_force_at;
use super::{App, AppResult, Countersignature, Submitted};

impl App {
    /// What this very payload was answered when it came first; none where it did not, or a signature or
    /// disclosure of the repeat does not hold.
    pub(super) async fn first_answer(
        &self,
        controller: &ControllerId,
        bytes: &[u8],
    ) -> AppResult<Option<AppResult<Submitted>>> {
        let Ok(envelope) = Envelope::read(bytes) else { return Ok(None) };
        let Some(id) = envelope.claimed_jti() else { return Ok(None) };
        let mut conn = self.store.reader().await?;
        let Some(used) = instructions::jti(&mut conn, controller, &id).await? else { return Ok(None) };
        let before = precedent(&envelope.instruction_digest(), &used.digest, &used.outcome);
        if before == Precedent::Reused {
            return Ok(None);
        }
        let set = in_force_at(&mut conn, controller, used.leaf).await?;
        if !self.is_whole(controller, &envelope, &set) {
            return Ok(None);
        }
        if let Precedent::Refused(reason) = before {
            return Ok(Some(Err(reason.into())));
        }
        let row = taken(&mut conn, controller, &id).await?;
        drop(conn);
        Ok(Some(self.submitted(row).await))
    }

    /// Every signature verifies under the set, and every disclosure is there, for an origin that the trail has or had.
    fn is_whole(&self, controller: &ControllerId, envelope: &Envelope, set: &KeySet) -> bool {
        let Ok(verified) = envelope.clone().verify(set) else { return false };
        let parses = |aud: &String| verified.clone().parse(&Expected { iss: controller, aud }).is_ok();
        self.store.trail_origins().iter().any(parses)
    }

    /// Whether this approval counts already, as the set has it that the instruction waited under.
    pub(super) async fn counted_before(
        &self,
        row: &InstructionRow,
        given: &Countersignature,
        disclosures: &[String],
    ) -> AppResult<bool> {
        let Ok(approval) = Detached::read(Says::Approved, &given.protected, &given.signature) else {
            return Ok(false);
        };
        if !stored(row)?.kids().any(|kid| kid == approval.kid()) {
            return Ok(false);
        }
        let set = in_force_at(&mut self.store.reader().await?, &row.controller, row.leaf).await?;
        let holds = |origin: &String| approved(row, &approval, disclosures.to_vec(), &set, origin).is_ok();
        let counts = signed(row).counts(&approval.kid(), &set, stored(row)?.kids());
        Ok(counts && self.store.trail_origins().iter().any(holds))
    }

    /// Whether this signer has taken his signature back already.
    pub(super) async fn taken_back_before(
        &self,
        row: &InstructionRow,
        given: &Countersignature,
    ) -> AppResult<bool> {
        let Ok(withdrawal) = Detached::read(Says::Withdrawn, &given.protected, &given.signature) else {
            return Ok(false);
        };
        if row.withdrawn.is_empty() {
            return Ok(false);
        }
        let set = in_force_at(&mut self.store.reader().await?, &row.controller, row.leaf).await?;
        let envelope = stored(row)?;
        let Ok(signer) = withdrawal.verify(&envelope, &set) else { return Ok(false) };
        Ok(signed(row).taken_back_by(&signer, &set, envelope.kids()).is_ok_and(|own| own.is_empty()))
    }
}

async fn taken(
    conn: &mut Conn,
    controller: &ControllerId,
    id: &InstructionId,
) -> Result<InstructionRow, StoreError> {
    instructions::find(conn, controller, id).await?.ok_or(StoreError::Corrupt("jtis.outcome"))
}
