"""One bug at least for each of the traps of PBFT, named `trap-NN-…` as the tests `test_trap_NN_…` are."""

from consensus import catch_up, certificates, checkpoint, normal, proposal, recovery, state, view_change
from consensus.replica import Replica
from consensus.round import Tally
from ledger import block, validators
from tests.sim.mutants.edit import Edit, Mutant

TRAPS = (
    Mutant(
        "trap-01-short-quorum",
        "n - f - 1 votes decide",
        (Edit(validators.quorum, "(n + fault_limit(n)) // 2 + 1", "n - fault_limit(n) - 1"),),
        "I1",
        1,
    ),
    Mutant(
        "trap-01-quorum-of-2f-and-1",
        "2f + 1 votes decide, also where n is more than 3f + 1",
        (Edit(validators.quorum, "(n + fault_limit(n)) // 2 + 1", "2 * fault_limit(n) + 1"),),
        "I1",
        6,
    ),
    Mutant(
        "trap-02-repeated-voters",
        "a certificate may count one voter several times",
        (
            Edit(
                certificates.count_voters,
                "if voters != sorted(set(voters)) or any(voter >= size for voter in voters):",
                "if any(voter >= size for voter in voters):",
            ),
        ),
        "I1",
        15,
    ),
    Mutant(
        "trap-03-trusted-bodies",
        "a fetched block's transactions are not hashed again",
        (
            Edit(
                catch_up._complete,
                "proposal.list_leaves([transaction.leaf for transaction in transactions], state.tip)",
                "proposal.leaves, proposal.bodies = [tx.leaf for tx in transactions], list(transactions)",
            ),
        ),
        "I3",
        170,
    ),
    Mutant(
        "trap-04-primary-prepares",
        "the primary's PREPARE counts beside its proposal",
        (
            Edit(normal.on_prepare, "if message.voter == round_.primary(message.view):", "if False:"),
            Edit(normal._backups, "if vote.voter != primary", "if True"),
            Edit(
                certificates.check_prepared,
                "any(vote.voter == primary for vote in certificate.prepares) or ",
                "",
            ),
        ),
        "I1",
        1070,
        "locks",
    ),
    Mutant(
        "trap-05-any-digest",
        "votes of a view count together, whatever block they are for",
        (Edit(Tally.supporters, " and vote[0] == digest", ""),),
        "I1",
        6,
    ),
    Mutant(
        "trap-06-unchecked-content",
        "a proposal's transactions are not looked at before PREPARE",
        (Edit(normal._prepare, "proposals.check_content(state, proposal)", "pass"),),
        "I2",
        18,
    ),
    Mutant(
        "trap-06-repeated-transaction",
        "… or all but the repeated ones",
        (Edit(proposal.check_content, "if tx.id in state.window or tx.id in ids:", "if False:"),),
        "I2",
        359,
    ),
    Mutant(
        "trap-07-unchecked-certificate",
        "a VIEW-CHANGE's certificate is believed",
        (Edit(view_change._check_view_change, "check_prepared(state, certificate)", "pass"),),
        "I5",
        8,
    ),
    Mutant(
        "trap-07-unchecked-choice",
        "a NEW-VIEW's choice is not computed again",
        (Edit(view_change._check_new_view, " or not (fresh or bound):", ":"),),
        "I1",
        113,
        "locks",
    ),
    Mutant(
        "trap-08-first-certificate",
        "the first certificate binds, in the order of the requests",
        (
            Edit(
                certificates.choose,
                "return max(certificates, key=lambda certificate: certificate.view, default=None)",
                "return next(iter(certificates), None)",
            ),
        ),
        "I1",
        12,
        "locks",
    ),
    Mutant(
        "trap-09-dropped-lock",
        "a VIEW-CHANGE does not show the prepared certificate",
        (Edit(view_change.give_up, "round_.proposal = None", "round_.proposal = round_.lock = None"),),
        "I1",
        1,
    ),
    Mutant(
        "trap-10-lowest-view",
        "the certificate of the lowest view binds",
        (Edit(certificates.choose, "return max(", "return min("),),
        "I1",
        12,
        "locks",
    ),
    Mutant(
        "trap-11-new-header",
        "a re-proposal gets a new header with its own view",
        (
            Edit(
                view_change.try_new_view,
                "proposal = proposals.read(state, certificate.header, certificate.view)",
                "from msgspec.structs import replace\n"
                "        from ledger.codec import encode\n"
                "        old = proposals.read(state, certificate.header, certificate.view)\n"
                "        header = replace(old.header, view=view, proposer=round_.primary_name(view))\n"
                "        proposal = proposals.read(state, encode(header), view)\n"
                "        proposal.leaves, proposal.bodies, proposal.missing = old.leaves, old.bodies, old.missing",
            ),
            Edit(
                view_change._check_new_view,
                "proposed.header_raw == certificate.header",
                "proposed.header.view == message.view",
            ),
        ),
        "I1",
        1,
    ),
    Mutant(
        "trap-12-forgotten-locks",
        "a restart forgets prepared certificates",
        (Edit(recovery.restore, "state.found_locks[height] = record", "pass"),),
        "I1",
        13,
        "locks",
    ),
    Mutant(
        "trap-12-shown-once",
        "a second view change does not show the certificate again",
        (
            Edit(
                view_change.give_up,
                "lock, digest = round_.lock, round_.scope.view_change_digest(view, round_.lock)",
                "lock = round_.lock if round_.lock and round_.lock.view == view - 1 else None\n"
                "    digest = round_.scope.view_change_digest(view, lock)",
            ),
        ),
        "I1",
        37,
    ),
    Mutant(
        "trap-13-huge-view",
        "one request moves everybody to its view",
        (Edit(view_change.try_follow, "round_.validators.weak_quorum", "1"),),
        "I6",
        8,
    ),
    Mutant(
        "trap-14-no-new-view-timer",
        "nobody times the wait for a NEW-VIEW",
        (Edit(view_change.watch, "running = asking >= round_.validators.quorum", "running = False"),),
        "I6",
        14,
    ),
    Mutant(
        "trap-15-moved-by-nonsense",
        "an invalid NEW-VIEW or a stranger's proposal makes a member give up its view",
        (
            Edit(
                Replica.receive,
                "except PeerError as error:",
                "except PeerError as error:\n"
                "        if isinstance(message, NewView | PrePrepare):\n"
                "            view_change.give_up(self.state, self.state.round.view + 1)",
            ),
        ),
        "I6",
        4,
    ),
    Mutant(
        "trap-16-old-block",
        "a primary of a former view proposes its open block again when it is its turn",
        (
            Edit(
                view_change.try_new_view,
                "proposal = proposals.build(state, view)",
                "own = [each for each in round_.candidates.values() if each.header.proposer == state.me]\n"
                "        proposal = own[0] if own else proposals.build(state, view)",
            ),
        ),
        "I5",
        0,
    ),
    Mutant(
        "trap-17-lock-for-ever",
        "who prepared a block accepts no other one at that height, whatever a NEW-VIEW proves",
        (
            Edit(
                normal._prepare,
                "round_.move(Trigger.CHECKED, state.steady_ms)",
                "if round_.lock is not None and round_.lock.header != proposal.header_raw:\n"
                "        return round_.move(Trigger.REFUSED, state.steady_ms)\n"
                "    round_.move(Trigger.CHECKED, state.steady_ms)",
            ),
        ),
        "I6",
        425,
        "locks",
    ),
    Mutant(
        "trap-18-unbounded-buffer",
        "messages of any later height are kept",
        (Edit(state.State.keep_for_later, "if height > self.round.height + K:", "if False:"),),
        "I7",
        20,
    ),
    Mutant(
        "trap-19-unchecked-seal",
        "state transfer believes its donor",
        (
            Edit(
                catch_up._take_sealed,
                "header, result = check_sealed("
                "block.sealed, state.validators_at(height), state.chain_id, state.verify)",
                "from ledger.block import Result\n"
                "    header, result = decode(Header, block.sealed.header), decode(Result, block.sealed.result)",
            ),
        ),
        "I1",
        46,
    ),
    Mutant(
        "trap-19-early-truncate",
        "the log forgets a block before the store holds it",
        (
            Edit(
                checkpoint.try_seal,
                "state.checkpoints.pop(height, None)",
                "state.checkpoints.pop(height, None)\n    state.out.append(Truncate(height))",
            ),
        ),
        "I5",
        36,
    ),
    Mutant(
        "trap-20-committed-twice",
        "a block that catch-up brings during a view change leaves its height open",
        (
            Edit(normal.finish, "round_ = state.round", "round_ = state.round\n    phase = round_.phase"),
            Edit(
                normal.finish,
                "    state.open_round(",
                "    if phase is Phase.CHANGING:\n"
                "        round_.phase = phase\n"
                "        return entry\n"
                "    state.open_round(",
            ),
        ),
        "I6",
        4,
    ),
    Mutant(
        "trap-21-still-changing",
        "a block that catch-up brings does not end a view change",
        (
            Edit(normal.finish, "round_ = state.round", "round_ = state.round\n    phase = round_.phase"),
            Edit(
                normal.finish,
                "    return entry",
                "    if phase is Phase.CHANGING:\n"
                "        state.round.phase, state.round.view = phase, round_.view\n"
                "    return entry",
            ),
        ),
        "I6",
        4,
    ),
    Mutant(
        "trap-23-one-reply",
        "a client believes a block that one member sealed",
        (Edit(block.check_sealed, "or len(voters) < validators.quorum", "or len(voters) < 1"),),
        "I2: a client",
        6,
    ),
    Mutant(
        "trap-24-proposals-timed",
        "a timer runs while a proposal is open, not while transactions wait",
        (
            Edit(
                view_change.watch,
                "running = len(state.pool) > 0 or idle_overdue(state)",
                "running = round_.proposal is not None",
            ),
        ),
        "I6",
        0,
    ),
)
