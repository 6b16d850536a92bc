from dashboards.state import CHOICES, State, short

ONE, TWO = "a" * 20, "b" * 20
KNOWN = {short(ONE): ONE, short(TWO): TWO}


def read(query: str) -> State:
    state = State()
    state.read(query, KNOWN)
    return state


def test_defaults_leave_the_address_empty() -> None:
    assert State().query() == ""


def test_every_choice_survives_the_address() -> None:
    chosen = State(
        page="layers",
        selection=[TWO, ONE],
        base=ONE,
        arrange="step",
        colour="sparsity",
        size="none",
        x="latency_p50_ms",
        y="loss",
        log_x=True,
        log_y=True,
        only="lost",
        label="3",
        sort="loss",
        offset=36,
        part="flips",
        measure="kl",
        kind="value",
        grouped="slice",
        kept="aaaaaaaaaa:-0.5..1e-05",
        where="confidence < 0.6 AND label = 3",
        rank="aaaaaaaaaa:rising",
        focus=TWO,
        flow="class",
        pair="aaaaaaaaaa,bbbbbbbbbb",
        layers="conv|attention.[0-9]+&x=1",
        layer="blocks.0",
        layer_view="heat",
        visual="weights",
        layer_sort="-0123456789",
        heat="cka",
        spread="selected",
        model_search="pruning 0.5",
        model_sort="blocks.0.conv1",
        probed="0123456789-2",
        probe_metric="loss",
        probe_split="calibration",
        other="0123456789",
        study="small digits/2",
        trials="failed",
        study_view="log",
        sql="SELECT name, 'ä&b=1'\nFROM models -- all + more",
        side="table",
        filters="accuracy:0.5..;size_bytes:..1000",
        search="prune sparsity=0.5",
        columns="accuracy,loss",
        order="-accuracy",
        trade_offs="recipes",
        groups="operation",
        dim=True,
        fold="yes",
        unfolded=short(ONE),
        shown="front",
    )
    assert all(getattr(chosen, name) != State.param[name].default for name in CHOICES)

    found = read(chosen.query())

    assert {name: getattr(found, name) for name in CHOICES} == {name: getattr(chosen, name) for name in CHOICES}


def test_what_is_unknown_or_impossible_is_left_out() -> None:
    state = read(f"?selection={short(ONE)},ffffffffff&arrange=sideways&offset=-4&log_x=maybe&nonsense=1")

    assert state.selection == [ONE]
    assert (state.arrange, state.offset, state.log_x) == ("operation", 0, False)


def test_what_the_address_leaves_out_goes_back_to_its_default() -> None:
    state = State(page="layers", selection=[ONE])

    state.read("?page=behaviours", KNOWN)

    assert (state.page, state.selection) == ("behaviours", [])
