"""One ``fit`` for every approach, on :class:`transformers.Trainer`; windows in, clip probabilities out."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from filelock import FileLock
from torch import nn
from tqdm import tqdm
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from genre_utils.device import default_device, kept_mb, memory_mb, precision_of
from genre_utils.errors import CheckpointError, GenreError, RunError
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.saved import WEIGHTS, read_json, read_weights, save_model, write_json
from genre_utils.models.sources import quiet_library
from genre_utils.optimizers import Muon
from genre_utils.paths import disk_access
from genre_utils.profiles import Training
from genre_utils.provenance import Stage, Stopwatch
from genre_utils.windows import WindowSet, mean_over_windows, softmax

#: Where a finished training is described, and what of its :class:`FitResult` is kept there.
FIT, KEPT = "fit.json", ("history", "best_epoch", "seconds", "peak_memory_mb", "precision", "peak_gpu_mb")


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch (NumPy's generator draws wav2vec 2.0's masks in fine-tuning)."""
    transformers.set_seed(seed)


@dataclass(frozen=True)
class FitResult:
    """What a fit came to; the model holds the weights of its best epoch.

    Attributes
    ----------
    history : list of dict
        Per epoch: epoch, train_loss, val_loss, val_accuracy (on clips), learning_rate, seconds.
    best_epoch : int
        Counted from 1, as in `history`.
    seconds : float
        Training time, validation included, over all interruptions.
    peak_memory_mb, peak_gpu_mb : float
        Largest resident memory of the process during the fit, and what it held of a GPU (None without one).
    precision : str
        "fp32", "bf16" or "fp16".
    reused : bool
        True if a finished fit with the same key was found and nothing was trained.
    """

    model: nn.Module
    history: list[dict]
    best_epoch: int
    seconds: float
    peak_memory_mb: float
    precision: str
    peak_gpu_mb: float | None = None
    reused: bool = False

    def stage(self, name: str) -> Stage:
        """What the training cost, for a record."""
        return Stage(name=name, seconds=self.seconds, peak_memory_mb=self.peak_memory_mb, peak_gpu_mb=self.peak_gpu_mb)

    def __str__(self) -> str:
        memory = f"{self.peak_memory_mb:,.0f} MB in the whole process" if self.peak_gpu_mb is None else f"{self.peak_gpu_mb:,.0f} MB of the GPU"
        return f"kept: epoch {self.best_epoch} of {len(self.history)}; {self.seconds:.0f} s of training in {self.precision}, at most {memory}"


class _Watcher(TrainerCallback):
    """Progress bar, and the epoch number for the random crops."""

    def __init__(self, train: WindowSet, progress: bool):
        self.train, self.progress, self.bar = train, progress, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc="training", unit="step", leave=False,
            disable=not self.progress, mininterval=0.5,
        )  # fmt: skip

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.train.epoch = round(state.epoch or 0)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.bar.set_postfix({"epoch": round(state.epoch), "val accuracy": f"{metrics['eval_accuracy']:.2f}"})

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


class _Trainer(Trainer):
    """The library's trainer, with the time of each epoch in its log and without its silent failures."""

    epoch_began = 0.0
    #: Parts that a batch is fed in, and the share of it that is being fed.
    parts, share = 1, 1.0

    def training_step(self, model, inputs, *args, **kwargs):
        """One step. A batch that the GPU's memory does not hold is fed with checkpoints, then in parts (of two or more:
        the head standardises what it sees), whose gradients add up."""
        clips = len(inputs["labels"])
        while True:
            try:
                loss, split = 0.0, {n: v.tensor_split(max(1, min(self.parts, clips // 2))) for n, v in inputs.items()}
                for part in (dict(zip(split, values, strict=True)) for values in zip(*split.values(), strict=True)):
                    self.share = len(part["labels"]) / clips
                    loss = loss + super().training_step(model, part, *args, **kwargs)
                return loss
            except torch.OutOfMemoryError as error:
                self._need_less(clips, error)
                model.zero_grad()  # of the parts that were fed

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        loss = loss * self.share if model.training else loss
        return (loss, outputs) if return_outputs else loss

    def _need_less(self, clips: int, error: Exception) -> None:
        """From now on compute again what is not kept; if that is not enough, feed smaller parts."""
        inner = getattr(getattr(self.model, "backbone", None), "model", None)
        if inner is None or self.parts > clips // 2:  # a CNN's batch normalisation sees the batch as a whole
            raise GenreError(f"the GPU's memory does not hold a batch of {clips}: close what else uses it ({error})") from error
        if inner.is_gradient_checkpointing:
            self.parts *= 2
        else:
            inner.gradient_checkpointing_enable()
        torch.cuda.empty_cache()
        how = f" in {self.parts} parts" if self.parts > 1 else ""
        print(f"The GPU's memory does not hold a batch of {clips}: it is fed{how} with gradient checkpoints, which is slower.")

    def get_train_dataloader(self):
        clips, batch = len(self.train_dataset), self.args.train_batch_size * self.args.world_size
        self.args.dataloader_drop_last = steps_per_epoch(clips, batch) < math.ceil(clips / batch)
        try:
            return super().get_train_dataloader()
        finally:
            self.args.dataloader_drop_last = False  # or validation windows would be dropped as well

    def log(self, logs: dict, *args, **kwargs) -> None:
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise GenreError(f"the loss became {loss} at step {self.state.global_step}: lower the learning rate")
        if "eval_loss" in logs:
            now = time.perf_counter()
            logs["seconds"], self.epoch_began = now - self.epoch_began, now
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir=None, state_dict=None) -> None:
        # safetensors refuses tensors in the channels-last layout.
        state = self.model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: tensor.contiguous() for name, tensor in state.items()})


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines, bars or advice of the libraries in a notebook's output while training."""
    with quiet_library(), warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _hash_array(digest, array: np.ndarray) -> None:
    digest.update(f"{array.shape}{array.dtype}".encode())
    for row in array:  # row by row: `inputs` may be a memory map larger than memory
        digest.update(np.ascontiguousarray(row).view(np.uint8).data)


def _key(model: nn.Module, train: WindowSet, val: WindowSet, training: Training, seed: int, precision: str) -> str:
    """SHA-256 over everything that decides what a fit gives."""
    digest = hashlib.sha256()
    about = [type(model).__name__, model.settings, asdict(training), seed, precision, train.window, val.window]
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    about += [val.starts.tolist(), torch.__version__, transformers.__version__, trained]
    digest.update(json.dumps(about, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for windows in (train, val):
        _hash_array(digest, windows.inputs)
        _hash_array(digest, windows.labels[:, None])
    return digest.hexdigest()


def _finished(folder: Path, key: str, model: nn.Module) -> FitResult | None:
    record = read_json(folder / FIT)
    if record.get("key") != key:
        return None
    try:
        model.load_state_dict(read_weights(folder / WEIGHTS))
    except CheckpointError:
        return None  # the record outlived its weights: train again
    return FitResult(model=model.eval(), reused=True, **{name: record.get(name) for name in KEPT})


def _last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end (its ``trainer_state.json`` comes last), or None."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
    return next((str(path) for path in found if read_json(path / "trainer_state.json")), None)


def _history(log: list[dict]) -> list[dict]:
    trained = {round(entry["epoch"]): entry for entry in log if "loss" in entry}
    return [
        {
            "epoch": epoch,
            "train_loss": trained[epoch]["loss"],
            "val_loss": entry["eval_loss"],
            "val_accuracy": entry["eval_accuracy"],
            "learning_rate": trained[epoch]["learning_rate"],
            "seconds": entry["seconds"],
        }
        for entry in log
        if "eval_loss" in entry and (epoch := round(entry["epoch"])) in trained
    ]


def _clip_metrics(val: WindowSet):
    def metrics(prediction) -> dict[str, float]:
        probabilities = mean_over_windows(softmax(prediction.predictions), val.clip_index)
        right = probabilities.argmax(1) == val.labels
        # Validation sets are small and accuracies tie: among equals the surer one wins, by less than one clip.
        surety = np.take_along_axis(probabilities, val.labels[:, None], axis=1).mean()
        return {"accuracy": float(right.mean()), "score": float(right.mean() + 0.5 * surety / len(right))}

    return metrics


def steps_per_epoch(clips: int, batch_size: int) -> int:
    """Steps in which `clips` training clips are fed. A rest of a single clip is left out of an epoch (another one each
    time): batch normalisation cannot work with one, and a step on one clip teaches little."""
    whole, rest = divmod(clips, batch_size)
    return max(1, whole + (rest > 1))


def _say_what_it_needs(model: nn.Module, train: WindowSet, batch_size: int) -> None:
    """Print how much memory a training will take: gradients, Adam's two averages, and what a step keeps."""
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    some = [train[clip] for clip in range(min(2, len(train)))]
    try:
        step_mb = kept_mb(model, {name: torch.stack([one[name] for one in some]) for name in some[0]}) / len(some) * batch_size
    except torch.OutOfMemoryError:  # in full precision, and all kept: the training itself may do with less
        return print("Memory: what a step keeps of two clips is already more than the GPU has free.")
    used, free = memory_mb()
    print(f"Memory: about {12 * trained / 2**20 + step_mb:,.0f} MB expected beside the {used:,.0f} MB in use; {free:,.0f} MB are free.")


def _arguments(folder: Path, training: Training, seed: int, precision: str) -> TrainingArguments:
    processes = int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1  # of torchrun
    if training.batch_size % processes:
        raise GenreError(f"{processes} processes cannot share batches of {training.batch_size} equally")
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size // processes,
        per_device_eval_batch_size=2 * training.batch_size,
        learning_rate=training.learning_rate,
        warmup_steps=training.warmup,  # a fraction of all steps; the old warmup_ratio is gone
        weight_decay=training.weight_decay,
        lr_scheduler_type=training.schedule,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=default_device() == "cpu",
        seed=seed,
        data_seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        save_total_limit=2,  # with 1, load-best deletes the checkpoint that an interrupted fit needs
        restore_callback_states_from_checkpoint=True,  # or the patience would start again
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=default_device() == "cuda",
        label_names=["labels"],
    )


def fit(
    model: nn.Module,
    train: WindowSet,
    val: WindowSet,
    training: Training,
    *,
    seed: int,
    out_dir: Path | str,
    progress: bool = True,
    precision: str = "auto",
    callbacks: Sequence[TrainerCallback] = (),
) -> FitResult:
    """Train `model`, stop when validation stops improving, and restore its best epoch.

    A finished fit is reused if everything that decides its outcome is the same (weights it started from,
    data, settings, seed, versions); an interrupted one goes on after its last complete epoch and ends with
    the same weights as if it had never been interrupted. Under ``torchrun`` the processes share each batch; all get the
    trained model, the first one writes it.

    Parameters
    ----------
    model : nn.Module
        Returns ``loss`` and ``logits`` from ``input_values`` and ``labels``. Changed in place.
    train, val : WindowSet
        Random crops and evenly spaced windows; validation accuracy is that of whole clips.
    training : Training
    seed : int
        Of dropout, masks, crops and the order of clips (the first weights are the caller's:
        :func:`set_seed`).
    out_dir : path
        Receives ``model.safetensors``, ``config.json`` and ``fit.json``.
    precision : {"auto", "fp32", "bf16", "fp16"}
    callbacks : sequence of TrainerCallback
        Further ones, to watch or to stop.

    Returns
    -------
    FitResult

    Raises
    ------
    GenreError
        If nothing is trainable or the loss becomes infinite.
    RunError
        If `out_dir` cannot be written.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise GenreError("nothing to train: every parameter of the model is frozen")
    folder = Path(out_dir)
    precision = precision_of(model=model) if precision == "auto" else precision
    train.train, train.seed = True, seed
    key = _key(model, train, val, training, seed, precision)
    checkpoints = folder / "checkpoints"
    arguments = _arguments(checkpoints, training, seed, precision)
    arguments.device  # noqa: B018  (under torchrun, this is where the processes meet)
    arguments._n_gpu = min(1, arguments.n_gpu)  # of two cards each would be fed a batch: twice the batch of the profile
    model.to(default_device())  # parts of it may lie on a GPU already, as a backbone that was heard does
    first = arguments.process_index == 0
    with disk_access(f"write the training to {folder}", RunError, "GENRE_UTILS_RUNS"):
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever trains the same model meanwhile waits here, and finds it finished.
        with FileLock(folder / ".lock") if first else nullcontext():
            _meet()
            if done := _finished(folder, key, model):
                return done
            if first and read_json(checkpoints / "key.json").get("key") != key:
                shutil.rmtree(checkpoints, ignore_errors=True)
                checkpoints.mkdir()
                write_json(checkpoints / "key.json", {"key": key})
            _meet()
            if progress and first:
                _say_what_it_needs(model, train, training.batch_size)
            result = _train(model, train, val, training, arguments, progress and first, callbacks)
            if first:
                (folder / FIT).unlink(missing_ok=True)  # it describes other weights, and would outlive them if we were killed now
                save_model(result.model, folder)
                write_json(folder / FIT, {"key": key, **{name: getattr(result, name) for name in KEPT}})
                shutil.rmtree(checkpoints, ignore_errors=True)
            _meet()
    return result


def _meet() -> None:
    """Let the processes that torchrun started wait for each other."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _train(model, train, val, training, arguments: TrainingArguments, progress, callbacks) -> FitResult:
    watch = Stopwatch()
    if isinstance(model, GenreCNN):
        model.to(memory_format=torch.channels_last)
    muon = Muon(model, training.learning_rate, training.weight_decay) if training.optimizer == "muon" else None
    with _quiet():
        set_seed(arguments.seed)
        trainer = _Trainer(
            model=model,
            args=arguments,
            optimizers=(muon, None),  # None: the library's AdamW, and the schedule of the arguments
            train_dataset=train,
            eval_dataset=val,
            compute_metrics=_clip_metrics(val),
            callbacks=[EarlyStoppingCallback(training.patience), _Watcher(train, progress), *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        # wav2vec 2.0 accepts **kwargs, from which the trainer concludes that the model divides its loss by the number
        # of items itself; with gradient accumulation it would then train on a multiple of the loss.
        trainer.model_accepts_loss_kwargs = False
        trainer.epoch_began = time.perf_counter()
        try:
            with watch.stage("train"):
                trainer.train(resume_from_checkpoint=_last_complete(Path(arguments.output_dir)))
        finally:
            # accelerate replaces `forward` by one that computes in `precision` for ever; the class's own returns.
            for name in ("forward", "_original_forward"):
                model.__dict__.pop(name, None)
    history = _history(trainer.state.log_history)
    best_step = trainer.state.best_global_step or trainer.state.global_step
    steps = steps_per_epoch(len(train), training.batch_size)
    return FitResult(
        model=model.eval(),
        history=history,
        best_epoch=round(best_step / steps),
        seconds=sum(entry["seconds"] for entry in history),
        peak_memory_mb=watch.stages[0].peak_memory_mb,
        peak_gpu_mb=watch.stages[0].peak_gpu_mb,
        precision="bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32",
    )
