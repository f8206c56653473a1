"""`python -m tests.chaos`: see `--help`. Exits with 0 only if all requirements are met."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import click
from rich.console import Console

from tests.chaos.cluster import frozen_code
from tests.chaos.duration import Duration
from tests.chaos.full_disk import fill_disk
from tests.chaos.joins import JOIN_BURNERS, kill_joins
from tests.chaos.load import burn_cpu
from tests.chaos.lost_brokers import lose_brokers
from tests.chaos.responses import RespondOptions, respond_under_faults
from tests.chaos.run import DEFAULT, SMALL, RunOptions
from tests.chaos.scenario import Stage, run_scenario
from tests.chaos.soak import run_folder, run_once, soak
from tests.chaos.stack_kills import kill_stack as kill_whole_stack
from tests.chaos.stack_responses import respond_on_stack
from tests.chaos.stack_sends import send_through_stack
from tests.chaos.unwritable import leave_unwritable

#: Defaults of one run of a soak (about two minutes), and of a single run.
SOAK_RUN = {"postbacks": 24_000, "rate": 400.0, "faults": 12}
LONG_RUN = {"postbacks": 60_000, "rate": 500.0, "faults": 20}
#: Those of the run among the tests.
SMALL_RUN = {"postbacks": 2_000, "rate": 400.0, "faults": 3}
#: Messages per second of --send.
SEND_RATE = 200.0
#: Postbacks per second of --respond.
RESPOND_RATE = 500.0


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True, default=(1,), help="One run per seed; repeatable.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", help="Nodes of Apache Kafka.")
@click.option("--small", is_flag=True, help="The run among the tests: fewer processes and partitions.")
@click.option("--postbacks", type=int, help="Postbacks to post.  [60000; with --soak 24000, --small 2000]")
@click.option(
    "--rate",
    type=float,
    help="Postbacks, or with --send messages, per second.  [500; with --soak, --small 400, with --send 200]",
)
@click.option(
    "--faults", type=int, help="Number of faults, spread over the run.  [20; with --soak 12, --small 3]"
)
@click.option("--blackouts", default=0, help="How often everything is killed at once, in addition.")
@click.option(
    "--burn", type=int, help="Competing processes that use a core each.  [0; with --soak 1, with --joins 2]"
)
@click.option("--soak", "soaking", type=Duration(), help="Run seed after seed for this time: 30m, 2h.")
@click.option("--joins", type=int, help="Rounds of killing broker and workers while groups rebalance.")
@click.option("--lost-brokers", is_flag=True, help="Two of five brokers are down; others must not notice.")
@click.option("--minutes", type=float, help="With --lost-brokers: duration of the outage.  [2]")
@click.option("--kill-stack", type=int, help="Rounds of killing all of `postbacks up` at once.")
@click.option("--full-disk", type=int, help="MiB after which Kafka's disk counts as full.")
@click.option("--unwritable", type=Duration(), help="A partition of `messages` rejects writes: 10m.")
@click.option("--send", type=Duration(), help="Send messages through the simulated provider: 5m.")
@click.option("--respond", type=Duration(), help="Answer responses by examples/rules.toml: 5m.")
@click.option(
    "--kills",
    type=int,
    help="With --send: how often each of client and gateway is killed; with --respond, responders.  [0]",
)
@click.option("--freezes", type=int, help="With --respond: how often responders are frozen.  [0]")
def main(
    seeds: tuple[int, ...],
    brokers: str,
    small: bool,
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
    full_disk: int | None,
    send: float | None,
    respond: float | None,
    kills: int | None,
    freezes: int | None,
) -> None:
    """Kill, stop and freeze gateways, workers, sinks, brokers and ClickHouse under load.

    Then wait until the pipeline is quiescent, and check that every postback that got a 2xx is in ClickHouse,
    counted once, and that the messages equal an independent fold over the postbacks.

    --joins, --lost-brokers, --unwritable, --kill-stack, --full-disk, --send and --respond each run
    one scenario instead; --respond one per seed.
    """
    scenarios = {
        "--soak": soaking is not None,
        "--joins": joins is not None,
        "--lost-brokers": lost_brokers,
        "--unwritable": unwritable is not None,
        "--kill-stack": kill_stack is not None,
        "--full-disk": full_disk is not None,
        "--send": send is not None,
        "--respond": respond is not None,
    }
    if len(chosen := [name for name, given in scenarios.items() if given]) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other")
    if minutes is not None and not lost_brokers:
        raise click.UsageError("--minutes is for --lost-brokers")
    if kills is not None and send is None and respond is None:
        raise click.UsageError("--kills is for --send and --respond")
    if freezes is not None and respond is None:
        raise click.UsageError("--freezes is for --respond")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it warns about each broker that is down
    frozen_code()  # an edit during the run must not change the code of later processes
    console = Console()
    defaults = SMALL_RUN if small else LONG_RUN if soaking is None else SOAK_RUN
    options = RunOptions(
        seeds[0],
        int(defaults["postbacks"]) if postbacks is None else postbacks,
        defaults["rate"] if rate is None else rate,
        int(defaults["faults"]) if faults is None else faults,
        int(brokers),
        blackouts,
        SMALL if small else DEFAULT,
    )
    if burn is None:
        burn = JOIN_BURNERS if joins is not None else int(soaking is not None)
    with burn_cpu(burn):
        if soaking is not None:
            passed = soak(options, soaking, console)
        elif joins is not None:
            passed = run_scenario("joins", lambda stage: kill_joins(stage, seeds[0], joins), console)
        elif lost_brokers:
            outage = (minutes or 2) * 60
            passed = run_scenario("lost-brokers", lambda stage: lose_brokers(stage, outage), console)
        elif kill_stack is not None:
            passed = run_scenario(
                "kill-stack", lambda stage: kill_whole_stack(stage, seeds[0], kill_stack), console
            )
        elif full_disk is not None:
            passed = run_scenario("full-disk", lambda stage: fill_disk(stage, full_disk * 2**20), console)
        elif send is not None:
            passed = run_scenario(
                "send",
                lambda stage: send_through_stack(stage, seeds[0], send, rate or SEND_RATE, kills or 0),
                console,
            )
        elif respond is not None:
            size = respond, rate or RESPOND_RATE, kills or 0, freezes or 0, int(brokers)
            passed = all(_respond(RespondOptions(seed, *size), console) for seed in seeds)
        elif unwritable is not None:
            passed = run_scenario("unwritable", lambda stage: leave_unwritable(stage, unwritable), console)
        else:
            outcomes = [run_once(replace(options, seed=seed), run_folder(seed), console) for seed in seeds]
            passed = all(outcome and outcome.passed for outcome in outcomes)
    sys.exit(not passed)


def _respond(options: RespondOptions, console: Console) -> bool:
    """With neither faults nor three brokers on `postbacks up`, otherwise on processes of its own."""

    async def scenario(stage: Stage) -> None:
        if options.kills or options.freezes or options.brokers > 1:
            await respond_under_faults(stage, options)
        else:
            await respond_on_stack(stage, options.seconds, options.rate)

    console.print(f"seed {options.seed}, {options.brokers} brokers", highlight=False)
    return run_scenario("respond", scenario, console)


if __name__ == "__main__":
    main()
