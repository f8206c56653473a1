"""`python -m tests.chaos`: see `--help`. Exit status 0 only when everything that is required holds."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import click
from rich.console import Console

from tests.chaos.cluster import frozen_code
from tests.chaos.duration import Duration
from tests.chaos.joins import JOIN_BURNERS, kill_joins
from tests.chaos.load import burning
from tests.chaos.lost_brokers import lose_brokers
from tests.chaos.run import Wanted
from tests.chaos.scenario import play
from tests.chaos.soak import run_folder, run_once, soak
from tests.chaos.stack_kills import kill_stack as kill_whole_stack
from tests.chaos.unwritable import leave_unwritable

#: A run of about two minutes, of which a soak makes many; and the long one.
SOAK_RUN = {"postbacks": 24_000, "rate": 400.0, "faults": 12}
LONG_RUN = {"postbacks": 60_000, "rate": 500.0, "faults": 20}


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True, default=(1,), help="A run for each; repeatable.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", help="Nodes of Apache Kafka.")
@click.option("--postbacks", type=int, help="How many are posted.  [60000; with --soak 24000]")
@click.option("--rate", type=float, help="Postbacks a second, over both gateways.  [500; with --soak 400]")
@click.option("--faults", type=int, help="How many faults, spread over the posting.  [20; with --soak 12]")
@click.option("--blackouts", default=0, help="How often everything is killed at once, besides.")
@click.option(
    "--burn", type=int, help="Processes beside it that use a core each.  [0; with --soak 1, with --joins 2]"
)
@click.option("--soak", "soaking", type=Duration(), help="Seed after seed, until the time is over: 30m, 2h.")
@click.option("--joins", type=int, help="Rounds of killing broker and workers while the group joins.")
@click.option("--lost-brokers", is_flag=True, help="Lose two of five brokers; other partitions go on.")
@click.option("--minutes", type=float, help="With --lost-brokers: for how long.  [2]")
@click.option("--kill-stack", type=int, help="Rounds of killing all of `postbacks up` at once.")
@click.option("--unwritable", type=Duration(), help="One partition of `messages` takes no writes: 10m.")
def main(
    seeds: tuple[int, ...],
    brokers: str,
    postbacks: int | None,
    rate: float | None,
    faults: int | None,
    blackouts: int,
    burn: int | None,
    soaking: float | None,
    joins: int | None,
    lost_brokers: bool,
    minutes: float | None,
    unwritable: float | None,
    kill_stack: int | None,
) -> None:
    """Kill, stop and freeze gateways, workers, sinks, brokers and ClickHouse while postbacks come in.

    Then wait for silence, and prove that every postback that got a 2xx is in ClickHouse, counted once, and
    that the messages are what a plain fold over the postbacks says.

    --joins, --lost-brokers, --unwritable and --kill-stack play one scenario each instead.
    """
    scenarios = {
        "--soak": soaking is not None,
        "--joins": joins is not None,
        "--lost-brokers": lost_brokers,
        "--unwritable": unwritable is not None,
        "--kill-stack": kill_stack is not None,
    }
    if len(chosen := [name for name, given in scenarios.items() if given]) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other")
    if minutes is not None and not lost_brokers:
        raise click.UsageError("--minutes is for --lost-brokers")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it warns of each broker that is down
    frozen_code()  # an edit during the run must not change the code of later processes
    console = Console()
    defaults = LONG_RUN if soaking is None else SOAK_RUN
    wanted = Wanted(
        seeds[0],
        int(defaults["postbacks"]) if postbacks is None else postbacks,
        defaults["rate"] if rate is None else rate,
        int(defaults["faults"]) if faults is None else faults,
        int(brokers),
        blackouts,
    )
    if burn is None:
        burn = JOIN_BURNERS if joins is not None else int(soaking is not None)
    with burning(burn):
        if soaking is not None:
            good = soak(wanted, soaking, console)
        elif joins is not None:
            good = play("joins", lambda stage: kill_joins(stage, seeds[0], joins), console)
        elif lost_brokers:
            good = play("lost-brokers", lambda stage: lose_brokers(stage, (minutes or 2) * 60), console)
        elif kill_stack is not None:
            good = play("kill-stack", lambda stage: kill_whole_stack(stage, seeds[0], kill_stack), console)
        elif unwritable is not None:
            good = play("unwritable", lambda stage: leave_unwritable(stage, unwritable), console)
        else:
            outcomes = [run_once(replace(wanted, seed=seed), run_folder(seed), console) for seed in seeds]
            good = all(outcome and outcome.good for outcome in outcomes)
    sys.exit(not good)


if __name__ == "__main__":
    main()
