"""The tables of the store: every column with its type, unit and meaning.

Parquet is the public interface of CC-Ray. This file is its contract: the store refuses rows that do not fit, and the
documentation of tables and views is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import pyarrow as pa

SCHEMA_VERSION: Final = 2
"""Written into the metadata of every file. A program reads its own version and older ones."""

TIME: Final = pa.timestamp("us", tz="UTC")
FLOATS: Final = pa.list_(pa.float32())
TEXTS: Final = pa.list_(pa.string())
COUNTS: Final = pa.list_(pa.int64())
INDICES: Final = pa.list_(pa.int32())
EDGES: Final = pa.list_(pa.float64())
HALVES: Final = pa.list_(pa.field("element", pa.float16(), nullable=False))
"""Half the bytes of `FLOATS`, where there are many values in [0, 1]; none is null, so they are read quicker."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    narrow: pa.DataType | None = None
    """A type of fewer bytes in which a file may hold the column; it is read as `type`."""


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns and how its rows are ordered in a file."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema whose fields carry `meaning` and `unit` as metadata."""
        fields = [pa.field(c.name, c.type, c.nullable, {"meaning": c.meaning, "unit": c.unit}) for c in self.columns]
        return pa.schema(fields, {"table": self.name, "schema_version": str(SCHEMA_VERSION)})


def _c(name: str, type_: pa.DataType, meaning: str, unit: str = "") -> Column:
    return Column(name, type_, meaning, unit)


def _n(name: str, type_: pa.DataType, meaning: str, unit: str = "") -> Column:
    return Column(name, type_, meaning, unit, nullable=True)


_MODEL_ID = _c("model_id", pa.string(), "identity of the model")

TASKS = Table(
    "tasks",
    "a task",
    (
        _c("task_id", pa.string(), "fingerprint of the task: its family, fields and data"),
        _c("task", pa.string(), "name of the registered task"),
        _c("parameters", pa.string(), "the task's fields, JSON"),
        _c("class_names", pa.list_(pa.string()), "what a label index means; position is the label"),
        _c("bases", pa.list_(pa.string()), "names of its base models"),
        _n(
            "splits",
            pa.string(),
            "the splits of its data, JSON: of each the number of its instances and, except for evaluation, how many of "
            "them (by identity or content) are among the evaluation instances; null where not known",
        ),
        _c("created_at", TIME, "when the task was first written"),
    ),
)

STUDIES = Table(
    "studies",
    "a study's state change; the last one counts",
    (
        _c("study_id", pa.string(), "identity of the study: the search space's name"),
        _c("state", pa.string(), "running, finished, stopped or failed"),
        _c("task_id", pa.string(), "the task it searches over"),
        _c("search_space", pa.string(), "the search space, JSON"),
        _c("objectives", pa.string(), "metric names with direction, JSON"),
        _c("started_at", TIME, "when this session of the study began"),
        _n("finished_at", TIME, "when it ended; null while it runs"),
        _c("code_version", pa.string(), "version of CC-Ray"),
        _c("environment", pa.string(), "library versions, device and node, JSON"),
        _n("reason", pa.string(), "why it ended before all trials had; null where they all ended, or it runs"),
        _n("started_by", pa.string(), "who started this session, where it was started from the dashboard"),
        _n("branched_from", TEXTS, "model_id of the models that its recipes go on from; null where they begin anew"),
        _c("at", TIME, "when the state changed"),
    ),
    ("study_id", "at"),
)

TRIALS = Table(
    "trials",
    "a trial's state change; the last one counts",
    (
        _c("study_id", pa.string(), "the study it belongs to"),
        _c("trial_id", pa.string(), "identity: hash of study and recipe"),
        _c("recipe", pa.string(), "the recipe, JSON"),
        _c("recipe_text", pa.string(), "the recipe as a person reads it"),
        _c("state", pa.string(), "pending, running, finished, failed or stopped"),
        _n("reason", pa.string(), "why it failed or stopped"),
        _n(
            "failed_step",
            pa.string(),
            "the step that failed or was stopped early, as a person reads it; null where its session was stopped",
        ),
        _n("model_id", pa.string(), "the model that the recipe ends in; null until it exists"),
        _c("steps_reused", pa.int32(), "models of the recipe that were there already, the base included"),
        _c("steps_run", pa.int32(), "models of the recipe that this trial made, the base included"),
        _n(
            "hypervolume",
            pa.float64(),
            "hypervolume of the study's models when the trial ended, as compare has it",
        ),
        _c("duration_s", pa.float64(), "time from start to this state", "s"),
        _c("at", TIME, "when the state changed"),
    ),
    ("study_id", "trial_id", "at"),
)

STEP_RUNS = Table(
    "step_runs",
    "an execution of a step; two for one model mean that work was done twice",
    (
        _c("run_id", pa.string(), "identity of the execution"),
        _c("model_id", pa.string(), "identity of the model that it makes"),
        _c("kind", pa.string(), "step (makes and measures the model) or latency (times it)"),
        _c("study_id", pa.string(), "the study that asked for it; empty outside a study"),
        _c("outcome", pa.string(), "published, discarded (another was first), failed or stopped (early)"),
        _n("reason", pa.string(), "why it failed or was stopped"),
        _c("node", pa.string(), "host name of the machine"),
        _c("process", pa.int64(), "process identity on the machine"),
        _n("cpus", pa.float64(), "processors that it held"),
        _n("gpus", pa.float64(), "graphics processors that it held"),
        _c("started_at", TIME, "when it began"),
        _c("duration_s", pa.float64(), "how long it took", "s"),
        _n("printed", pa.string(), "the end of what it printed; null where that is nothing"),
        _n("traceback", pa.string(), "the end of the traceback where it failed, without values"),
    ),
)

REQUESTS = Table(
    "requests",
    "what somebody asks of a study while it runs, whose session looks for it",
    (
        _c("study_id", pa.string(), "the study"),
        _n("trial_id", pa.string(), "the trial; null where the whole study is meant"),
        _c("what", pa.string(), "stop"),
        _c("by", pa.string(), "who asks; empty where there is no login"),
        _c("at", TIME, "when it was asked"),
    ),
    ("study_id", "at"),
)

MODELS = Table(
    "models",
    "a node of the lineage",
    (
        _MODEL_ID,
        _c("task_id", pa.string(), "the task it solves"),
        _c("base", pa.string(), "name of the base model that its recipe starts from"),
        _c("name", pa.string(), "the whole recipe as a person reads it"),
        _n("operation", pa.string(), "operation that made it; null for a base model"),
        _c("parameters", pa.string(), "the operation's parameters, JSON; {} for a base model"),
        _c("recipe", pa.string(), "the recipe that leads to it, JSON"),
        _c("step_index", pa.int32(), "number of steps from the base model; 0 for a base model"),
        _c("seed", pa.int64(), "seed of the recipe"),
        _c("artifact", pa.string(), "SHA-256 of the saved model file"),
        _c(
            "representation",
            pa.string(),
            "float, simulated (low bits in float arithmetic), quantized, or exported (a file for elsewhere)",
        ),
        _n(
            "realised_on",
            TEXTS,
            "kinds of devices (cpu, cuda) on which it runs in the form that is saved; elsewhere what it saves is "
            "simulated: arithmetic and memory are those of floats; null where not known",
        ),
        _c("study_id", pa.string(), "the study that made it; empty outside a study"),
        _c("device", pa.string(), "device that the step worked on: `cpu`, or `cuda: ` and the GPU's name"),
        _c("duration_s", pa.float64(), "what applying the operation cost, without measuring", "s"),
        _n(
            "data_used",
            TEXTS,
            "splits of the task's data that the step read (of a base model: its training), as it was seen to do; null "
            "where nobody saw",
        ),
        _c("created_at", TIME, "when it was made"),
    ),
)

LINEAGE = Table(
    "lineage",
    "an edge of the lineage",
    (
        _c("child", pa.string(), "model_id of the younger model"),
        _c("parent", pa.string(), "model_id of the older model"),
        _c("role", pa.string(), "parent, teacher (distillation), donor (restored weights) or calibration"),
    ),
)

METRIC_DEFINITIONS = Table(
    "metric_definitions",
    "a metric",
    (
        _c("metric", pa.string(), "name, with its unit where it has one"),
        _c("label", pa.string(), "name on the screen"),
        _c("unit", pa.string(), "unit; empty for counts and shares"),
        _c("direction", pa.string(), "higher, lower or none: which values are better"),
        _n("min", pa.float64(), "smallest possible value"),
        _n("max", pa.float64(), "largest possible value"),
        _c("primary", pa.bool_(), "shown first"),
        _c("format", pa.string(), "percent, bytes, count, ms, bits or number"),
        _c("meaning", pa.string(), "definition in one sentence"),
    ),
)

METRICS = Table(
    "metrics",
    "a model's metric on a split and slice",
    (
        _MODEL_ID,
        _c("metric", pa.string(), "name of the metric"),
        _c("split", pa.string(), "evaluation, or empty where no data is involved"),
        _c("slice", pa.string(), "all, or a slice such as class:3"),
        _c("device", pa.string(), "`cpu, 1 thread`, or `cuda: ` and the GPU's name; empty where it does not matter"),
        _c("value", pa.float64(), "the value, in the metric's unit"),
        _n("ci_low", pa.float64(), "lower end of the 95 % interval"),
        _n("ci_high", pa.float64(), "upper end of the 95 % interval"),
        _n("n", pa.int64(), "instances or repeats behind the value"),
    ),
    ("metric", "slice"),
)

INSTANCES = Table(
    "instances",
    "an evaluation instance",
    (
        _c("task_id", pa.string(), "the task it belongs to"),
        _c("instance", pa.int64(), "identity within the task"),
        _n("label", pa.int32(), "index of the true class; null except in classification"),
        _n("label_name", pa.string(), "name of the true class; null except in classification"),
        _n("target", pa.float64(), "the true number; null except in regression"),
        _n("references", TEXTS, "accepted answers; null where there are none, as in classification"),
        _c("slices", pa.list_(pa.string()), "named subsets that it belongs to"),
        _c("payload", pa.binary(), "how it is shown: the bytes of a PNG or of UTF-8 text"),
        _c("payload_type", pa.string(), "image/png or text/plain"),
        _n("token_texts", TEXTS, "the scored tokens as text, in order; null where not recorded, as in classification"),
    ),
    ("instance",),
)

PREDICTIONS = Table(
    "predictions",
    "a model's answer to an evaluation instance",
    (
        _MODEL_ID,
        _c("instance", pa.int64(), "identity of the instance within the task"),
        _n("label", pa.int32(), "index of the true class; null except in classification"),
        _n("prediction", pa.int32(), "index of the most probable class; null except in classification"),
        _n(
            "correct",
            pa.bool_(),
            "prediction equals label; of text: equals a reference, both normalised, null without references; null in "
            "regression",
        ),
        _n("confidence", pa.float32(), "probability of the prediction; null where only the predicted class is known"),
        _n("true_probability", pa.float32(), "probability of the true class; null as confidence is"),
        _n(
            "loss",
            pa.float32(),
            "-ln of the true class's probability, null as confidence is; of generated text: mean of -ln of the "
            "probability of each scored token, null where not recorded",
            "nats",
        ),
        _n(
            "margin",
            pa.float32(),
            "true class's probability less the largest other one, in [-1, 1]; null as confidence is",
        ),
        _n("entropy", pa.float32(), "-sum p ln p over the classes; null as confidence is", "nats"),
        Column(
            "probabilities",
            FLOATS,
            "probability of each class; position is the class; null as confidence is",
            nullable=True,
            narrow=HALVES,
        ),
        _n("target", pa.float64(), "the true number; null except in regression"),
        _n("value", pa.float64(), "the predicted number, in the same unit; null except in regression"),
        _n("text", pa.string(), "generated or extracted text, where the task has one"),
        _n("tokens", pa.int64(), "number of scored tokens, of which loss is the mean; null in classification"),
        _n(
            "token_losses",
            FLOATS,
            "-ln of the probability of each scored token, in order; their mean is loss; null where not recorded",
            "nats",
        ),
        _n(
            "top_tokens",
            INDICES,
            "the most probable tokens at each scored token's place, the first foremost, as many for each place; null "
            "where not recorded",
        ),
        _n(
            "top_log_probabilities",
            FLOATS,
            "ln of their probabilities, in the same order: of all other tokens together it is what is left of 1; null "
            "where not recorded",
            "nats",
        ),
        _n(
            "f1",
            pa.float32(),
            "largest F1 of the words that generated text shares with a reference, in [0, 1]; null without references",
        ),
        _n(
            "kl_from_base",
            pa.float32(),
            "KL divergence from the base model, of generated text its mean over tokens; null where not recorded",
            "nats",
        ),
        _n(
            "kl_from_parent",
            pa.float32(),
            "KL divergence from the parent, of generated text its mean over tokens; null where not recorded",
            "nats",
        ),
        _n(
            "same_top_from_base",
            pa.float32(),
            "share of tokens on which it and the base model put the same token first; null where not recorded",
        ),
        _n(
            "same_top_from_parent",
            pa.float32(),
            "share of tokens on which it and the parent put the same token first; null where not recorded",
        ),
        _n("mse_from_base", pa.float32(), "mean over classes of (p - p of the base model)^2; null where not recorded"),
        _n("mse_from_parent", pa.float32(), "mean over classes of (p - p of the parent)^2; null where not recorded"),
    ),
    ("instance",),
)

LAYERS = Table(
    "layers",
    "a weight tensor of a model",
    (
        _MODEL_ID,
        _c("layer", pa.string(), "module path; empty for the model itself"),
        _c("tensor", pa.string(), "name within the module: weight, bias, ..."),
        _c("module", pa.string(), "class of the module"),
        _c("shape", pa.list_(pa.int64()), "lengths of the axes"),
        _c("dtype", pa.string(), "type of the stored values"),
        _c("parameters", pa.int64(), "number of values"),
        _c("zeros", pa.int64(), "number of values that are exactly zero"),
        _c("effective_bits", pa.float64(), "bits on disk per value, scales and masks included", "bits"),
        _c("l1", pa.float64(), "sum of absolute values"),
        _c("l2", pa.float64(), "square root of the sum of squares"),
        _c("min", pa.float64(), "smallest value"),
        _c("max", pa.float64(), "largest value"),
        _c("histogram", COUNTS, "values per bin"),
        _c("histogram_edges", EDGES, "edges of the bins; one more than bins"),
        _n(
            "sqnr_db",
            pa.float64(),
            "20 log10(||parent|| / ||parent - model||); null when equal, reshaped, or against zeros",
            "dB",
        ),
        _n(
            "relative_change",
            pa.float64(),
            "||model - parent|| / ||parent||; null when reshaped, against zeros, or no parent",
        ),
        _c("reshaped", pa.bool_(), "its shape differs from the parent's"),
        _n(
            "kept",
            pa.list_(pa.list_(pa.int64())),
            "of a reshaped tensor, for each axis the parent's indices that are left; null where not recorded",
        ),
    ),
    ("layer", "tensor"),
)

ACTIVATIONS = Table(
    "activations",
    "a module's output over the fixed activation sample",
    (
        _MODEL_ID,
        _c("layer", pa.string(), "module path"),
        _c("module", pa.string(), "class of the module"),
        _c("mean", pa.float64(), "mean of the outputs"),
        _c("std", pa.float64(), "standard deviation of the outputs"),
        _c("zeros", pa.float64(), "share of outputs that are exactly zero, in [0, 1]"),
        _c("histogram", COUNTS, "outputs per bin"),
        _c("histogram_edges", EDGES, "edges of the bins; one more than bins"),
        _c("instances", pa.list_(pa.int64()), "identities of the sampled instances, first axis of values"),
        _c("shape", pa.list_(pa.int64()), "lengths of the axes of values; the first is the instances"),
        _c("values", FLOATS, "the sampled outputs, row-major"),
        _n(
            "isolated_sqnr_db",
            pa.float64(),
            "SQNR of its output when it alone is the child's, fed with what the parent's module is fed; null when "
            "equal or not recorded",
            "dB",
        ),
    ),
    ("layer",),
)

FINDINGS = Table(
    "findings",
    "something a check noticed about a model",
    (
        _MODEL_ID,
        _c("check", pa.string(), "name of the check"),
        _c("severity", pa.string(), "info, warning or error"),
        _c("layer", pa.string(), "module path; empty for the whole model"),
        _c("message", pa.string(), "what was noticed and what it means"),
        _n("expected", pa.float64(), "the value claimed, where there is one"),
        _n("found", pa.float64(), "the value measured, where there is one"),
    ),
)

Judged = Literal["evaluation", "calibration"]
"""Splits that layers compressed alone are judged on; the training data tell little of what harms."""

SENSITIVITY = Table(
    "sensitivity",
    "a layer of a model, compressed alone at one level, under one metric",
    (
        _MODEL_ID,
        _c("task_id", pa.string(), "the task it solves"),
        _c("operation", pa.string(), "the operation that worked on this layer alone; no model was kept"),
        _c("parameters", pa.string(), "its parameters without its level and what it works on, JSON"),
        _c("layer", pa.string(), "path of the layer's module; empty for the model itself"),
        _n("parameter", pa.string(), "the parameter that says how strong it is; null for an operation without"),
        _n("level", pa.float64(), "value of that parameter; null for an operation without"),
        _n("split", pa.string(), "split of the data that it was judged on: evaluation (null too), or calibration"),
        _c("metric", pa.string(), "name of the metric, over the whole split"),
        _n("value", pa.float64(), "value with the layer compressed; null where the operation does not apply"),
        _n("ci_low", pa.float64(), "lower end of its 95 % interval"),
        _n("ci_high", pa.float64(), "upper end of its 95 % interval"),
        _c("model_value", pa.float64(), "value of the model as it is, measured in the same process"),
        _n("difference", pa.float64(), "value less model_value"),
        _n(
            "weight_sqnr_db",
            pa.float64(),
            "20 log10(||weight|| / ||weight - compressed||) of the layer; null when equal, reshaped or against zeros",
            "dB",
        ),
        _n(
            "output_sqnr_db",
            pa.float64(),
            "the same of the model's class scores over the split; null when equal",
            "dB",
        ),
        _n("n", pa.int64(), "instances behind the value"),
        _c("seed", pa.int64(), "seed of the operation: the one of the model's recipe"),
        _n("reason", pa.string(), "why the operation does not apply to the layer alone; null where it does"),
        _c("duration_s", pa.float64(), "time that compressing and measuring took", "s"),
        _c("at", TIME, "when it was measured"),
    ),
    ("metric",),
)

LAYER_TIMES = Table(
    "layer_times",
    "a layer of a model, compressed alone at one level and timed alone on one device",
    (
        _MODEL_ID,
        _c("task_id", pa.string(), "the task it solves"),
        _c("operation", pa.string(), "the operation that worked on this layer alone; no model was kept"),
        _c("parameters", pa.string(), "its parameters without its level and what it works on, JSON"),
        _c("layer", pa.string(), "path of the layer's module; empty for the model itself"),
        _n("parameter", pa.string(), "the parameter that says how strong it is; null for an operation without"),
        _n("level", pa.float64(), "value of that parameter; null for an operation without"),
        _c("device", pa.string(), "what it was timed on, named as in the column of metrics"),
        _c("time_ms", pa.float64(), "median time of all calls of the layer that one instance takes", "ms"),
        _c("model_time_ms", pa.float64(), "the same of the layer as the model has it, from the same rounds", "ms"),
        _c("at", TIME, "when it was measured"),
    ),
    ("model_id", "operation", "layer", "level"),
)

RECOVERIES = Table(
    "recoveries",
    "a model with some modules put back to an ancestor's weights, under one metric",
    (
        _MODEL_ID,
        _c("parent_id", pa.string(), "model_id of the ancestor whose weights were put back"),
        _c("modules", TEXTS, "paths of the modules that were put back, in order"),
        _c("metric", pa.string(), "name of the metric, over the whole evaluation split"),
        _c("value", pa.float64(), "the value, in the metric's unit"),
        _n(
            "output_sqnr_db",
            pa.float64(),
            "20 log10(||y|| / ||y - z||) of the ancestor's class scores y and these z; null when equal",
            "dB",
        ),
        _c("duration_s", pa.float64(), "time that measuring took", "s"),
        _c("at", TIME, "when it was measured"),
    ),
    ("metric",),
)

BISECTIONS = Table(
    "bisections",
    "an answer to which modules, put back to an ancestor's weights, bring a metric back",
    (
        _MODEL_ID,
        _c("task_id", pa.string(), "the task it solves"),
        _c("parent_id", pa.string(), "model_id of the ancestor"),
        _c("metric", pa.string(), "name of the metric"),
        _c("tolerance", pa.float64(), "how far from the ancestor's value is near enough, in the metric's unit"),
        _c("model_value", pa.float64(), "value of the model as it is"),
        _c("parent_value", pa.float64(), "value of the ancestor"),
        _c("target", pa.float64(), "value to reach: the ancestor's, less good by the tolerance"),
        _c(
            "proof",
            pa.string(),
            "smallest (no smaller set reaches the target), minimal (no member can be left out) or none (no set found)",
        ),
        _c("modules", TEXTS, "paths of the modules of the set, in order; empty where none is needed or none was found"),
        _n("value", pa.float64(), "value with the set put back; null where none was found"),
        _c("failing_size", pa.int64(), "every set of so many modules or fewer was measured and falls short; -1: none"),
        _c("candidates", pa.int64(), "modules, tied ones together, that differ and can be put back"),
        _c("left_out", TEXTS, "paths of modules that differ in shape, or are tied to one that does"),
        _n("step", pa.string(), "the step of the operation `restore` that does the same, JSON; null where none does"),
        _c("evaluations", pa.int64(), "sets that the answer rests on"),
        _c("budget", pa.int64(), "sets of two and more that might be measured to prove that a set is the smallest"),
        _c("duration_s", pa.float64(), "time that the search took", "s"),
        _c("at", TIME, "when it ended"),
    ),
)

REPORTS = Table(
    "reports",
    "what a model was worth at one point while its step was under way, and whether the step went on",
    (
        _MODEL_ID,
        _c("name", pa.string(), "the whole recipe as a person reads it"),
        _c("study_id", pa.string(), "the study that asked for the step"),
        _c("task_id", pa.string(), "the task it solves"),
        _c("epoch", pa.int32(), "epochs of training behind it; 0 where it was made and only measured still"),
        _c("split", pa.string(), "split of the task's data that it was measured on"),
        _c("n", pa.int64(), "instances that it was measured on"),
        _c("metric", pa.string(), "name of the metric"),
        _c("value", pa.float64(), "the value, in the metric's unit"),
        _c("size_bytes", pa.int64(), "size of the saved model; of one in training its parent's", "bytes"),
        _c("decision", pa.string(), "go, stop, or spare (the rule was against it, but it had to go on)"),
        _n("reason", pa.string(), "what the rule had against it; null for go"),
        _c("at", TIME, "when it was reported"),
    ),
    ("study_id", "at"),
)

COMPARISONS = Table(
    "comparisons",
    "a change of what somebody saved of the dashboard's screen; the last one counts",
    (
        _c("comparison_id", pa.string(), "identity of the comparison, which it keeps under other names"),
        _c("state", pa.string(), "saved or deleted"),
        _c("name", pa.string(), "what it is called"),
        _c("note", pa.string(), "what was written about it; several lines"),
        _c("page", pa.string(), "page of the dashboard that it shows"),
        _c("query", pa.string(), "the choices on that page: the query part of its address, with its ?"),
        _c("models", TEXTS, "model_id of the models that were selected, in order of choice"),
        _n("base_id", pa.string(), "model_id of the model that they were compared with; null where none was chosen"),
        _c("user", pa.string(), "who changed it, as the login knows them; empty where there is no login"),
        _c("at", TIME, "when it was changed"),
    ),
    ("comparison_id", "at"),
)

TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        TASKS, STUDIES, TRIALS, STEP_RUNS, REQUESTS, MODELS, LINEAGE, METRIC_DEFINITIONS, METRICS, INSTANCES,
        PREDICTIONS, LAYERS, ACTIVATIONS, FINDINGS, SENSITIVITY, LAYER_TIMES, RECOVERIES, BISECTIONS, REPORTS,
        COMPARISONS,
    )
}  # fmt: skip

BATCHES: Final[dict[str, tuple[Table, ...]]] = {
    "task": (TASKS, INSTANCES, METRIC_DEFINITIONS),
    "study": (STUDIES,),
    "trial": (TRIALS,),
    "run": (STEP_RUNS,),
    "request": (REQUESTS,),
    "step": (MODELS, LINEAGE, METRICS, PREDICTIONS, LAYERS, ACTIVATIONS, FINDINGS),
    "latency": (METRICS,),
    "sensitivity": (SENSITIVITY,),
    "layer_times": (LAYER_TIMES,),
    "recovery": (RECOVERIES,),
    "bisection": (BISECTIONS,),
    "report": (REPORTS,),
    "comparison": (COMPARISONS,),
}
"""Which tables are written together, whole or not at all, by kind of batch."""
