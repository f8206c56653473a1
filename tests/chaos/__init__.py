"""Fault injection: kill, stop, freeze and fill everything under load; then check that nothing is missing.

`make chaos` is the command. A run and its parts, in jepsen's terms:

    faults        the schedule of faults, determined by a seed (nemesis)
    cluster       the processes, and how faults are injected into them
    quiesce       waits until the pipeline is quiescent
    workload      postbacks, and `planned_posts` beside them: the submissions of their messages
                  (`submission_plan`), and handsets that opt out and in (`contact_plan`, `contact_texts`)
    posted        what was posted, and what must result from it (`expected`, `expected_contacts`)
    checker       compares what was acknowledged with Kafka and ClickHouse
    fold          folds what Kafka has; `status_check` and `contact_check` compare messages and contacts
                  with the posts
    readback      reads Kafka and ClickHouse completely
    outcome       the result of a run
    run, soak     one run from start to end; run after run, seed by seed
    report        tables of results, and the logs of a failed run
    load          competing CPU load
    duration      durations on the command line

Scenarios of their own, each on a `scenario.Stage`:

    joins         kills brokers and workers while groups rebalance
    lost_brokers  two of five brokers are down for a while
    unwritable    one partition of `messages` cannot be written for a while
    stack_kills   kills `postbacks up` as a whole (`running_stack`)
    stack_sends   sends messages while `postbacks up` runs, and kills client and gateway
    full_disk     Kafka reaches its disk limit

    sends         runs the client (`sender`) and the simulated provider (`send_plan`) on any pipeline;
                  `send_agreement` compares what they and ClickHouse say (`send_sides`, `send_check`)

    responses     kills and freezes responders while they send (`respond_faults`, `sending_responder`) on
                  one or three brokers, and handsets write questions and opt-outs (`respond_plan`);
                  `stack_responses` is `postbacks up --simulate --respond`, without faults.
                  `respond_agreement` waits for all outcomes and reads what each side knows
                  (`respond_sides`); `respond_check` (`respond_limits`) requires that nothing is sent twice
                  or after an opt-out, and that all is answered that must be (`respond_expected`,
                  `respond_texts`)

    traffic       steady load on chosen partitions (`placement`), and its latency
    observer      groups, offsets and metadata as Kafka reports them
    progress      commits; `ownership`, assignments; `groups`, members and lag over time
"""
