"""The precipitation task: HKO-7-like archives, encoder-forecasters, balanced scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.report.player import Reel
from nowcast.core.scoring.pooling import pooled
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.storage.origin import digest
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.threads import one_thread
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw, evaluation_draws, towards_rain, training_draws
from nowcast.precipitation.clips.features import FEATURES, groups
from nowcast.precipitation.clips.identity import archive_hash, facts_of
from nowcast.precipitation.clips.loader import Loader
from nowcast.precipitation.clips.mixture import Mixture, tickets
from nowcast.precipitation.clips.trained_on import seen_by, written
from nowcast.precipitation.forecasters.baselines import Setting, baseline
from nowcast.precipitation.forecasters.comoving.ensemble import ComovingEnsemble
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.forecasters.scale import Scale
from nowcast.precipitation.forecasters.settings import Ensemble, as_ensemble
from nowcast.precipitation.forecasting.released.weights import located, shipped
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.loss import (
    LOSS_SCALE,
    area_loss,
    balanced_loss,
    members_loss,
    relative_loss,
)
from nowcast.precipitation.settings import PrecipitationSettings, check_divides
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from nowcast.precipitation.verification.ensembles.columns import COLUMNS, DETAILS
from nowcast.precipitation.verification.ensembles.crps import crps_curves
from nowcast.precipitation.verification.ensembles.verify import comparable, member_sums
from nowcast.precipitation.verification.fitted import Thresholds
from nowcast.precipitation.verification.scores import benchmark_curves, read_scores, score_frames
from nowcast.precipitation.verification.verify import read_verification, verify_frames

PICTURES = 2  # clips shown per validation


class PrecipitationTask:
    """Implements all protocols of `nowcast.core.training.task` for radar.

    Args:
        settings: the whole config of a run.
        reuse: another task; if it reads the same clips, its frames in memory are shared.

    Raises:
        ConfigError: no archive is named, it cannot be opened, or it does not fit the settings.
    """

    sites = ("*.candidate",)
    objective: tuple[str, ...] = ("b_mse", "b_mae")
    loss_scale: float | None = LOSS_SCALE
    details = DETAILS
    reference = "persistence"
    features = FEATURES
    mask = None
    columns = COLUMNS

    def __init__(
        self, settings: PrecipitationSettings, reuse: "PrecipitationTask | None" = None
    ) -> None:
        self.settings = settings
        self.replayable = settings.model.replayable
        if settings.loss.relative or settings.loss.areas:
            self.loss_scale = None
        if settings.loss.members:
            self.objective, self.loss_scale = ("crps_pixel",), None
        data = settings.data
        if data.root is None:
            raise ConfigError(
                "data.root: expected the folder of an archive, found none; add data.root=FOLDER "
                "(make one with `nowcast data sample` or `nowcast data synth`)"
            )
        shared = reuse if reuse is not None and reuse.settings.data == data else None
        self.archive: ArchiveReader = (
            shared.archive if shared else open_archive(data.root, data.lists)
        )
        self._loader = Loader(settings, self.archive.calibration)
        self._clips: dict[str, Clips] = shared._clips if shared else {}
        self._hash: str | None = shared._hash if shared else None

    @cached_property
    def mixture(self) -> Mixture | None:
        """Training clips of `data.sources`; None where there are none."""
        if not self.settings.data.sources:
            return None
        return Mixture(self.settings.data, self.archive.calibration)

    def clips(self, split: str) -> Clips:
        """The clips of a split as they are scored, `stride` apart."""
        name = next((name for name in SPLITS if name == split), None)
        if name is None:
            raise ConfigError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
        data = self.settings.data
        return self._opened(name, lambda: Clips(self.archive, name, data, data.stride))

    def training_clips(self) -> Clips:
        """All clips of the training days, cut by `random_crop` where there is one."""
        data = self.settings.data
        return self._opened(
            "training",
            lambda: Clips(self.archive, "train", data, 1, data.random_crop, data.min_wet),
        )

    def _opened(self, name: str, make: Callable[[], Clips]) -> Clips:
        if name not in self._clips:
            self._clips[name] = make()
        return self._clips[name]

    def model(self) -> nn.Module:
        """The forecaster of the settings; see `forecasters.kinds`."""
        data = self.settings.data
        about = self.archive.calibration, Scale.of(self.archive.description)
        return self.settings.model.for_archive(data.in_len, data.out_len, *about)

    def baseline(self, name: str) -> nn.Module:
        """A forecaster that is not trained here: one of `forecasters.baselines`, or weights that
        come with nowcast."""
        out_len = self.settings.data.out_len
        if name in shipped():
            run = located(name)
            about = self.archive.calibration, Scale.of(self.archive.description)
            return trained_forecaster(run, settings_of_run(run), out_len, *about)
        return baseline(name, Setting(out_len, self.archive.description))

    def dry_run(self, model: nn.Module) -> object:
        """Pass one dry clip of the training size through a model."""
        device = next(model.parameters()).device
        size = self._training_size()
        return model(torch.zeros(1, self.settings.data.in_len, 1, *size, device=device))

    def trained_on(self) -> Mapping[str, Any]:
        """Step, pixel size and clip lengths of what it trains on, for the run's folder."""
        sources = self.mixture.sources if self.mixture is not None else ()
        archives = [source.archive.description for source in sources]
        return written(seen_by(self.settings.data, self.archive.description, archives))

    def epoch(self) -> int:
        """Clips of the training days, one from every frame that one can begin at."""
        return len(self.mixture or self.training_clips())

    def samples(self, split: str) -> int:
        """Clips of a split as they are scored."""
        return len(self.clips(split))

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[RadarBatch]:
        """Batches of random clips of the training days; see `Task`."""
        self._training_size()
        train, data = self.settings.train, self.settings.data
        self._check_shared_memory(ranks)
        (self.mixture or self.training_clips()).bring_near()
        if self.mixture is not None:
            drawn = tickets(train.batch_size, train.seed, start, ranks.rank, ranks.size)
            return self._loader.batches(self.mixture, drawn)
        clips = self.training_clips()
        height, width = clips.frame_size
        plan = training_draws(
            (len(clips), clips.height - height + 1, clips.width - width + 1),
            train.batch_size,
            train.seed,
            start,
            ranks.rank,
            ranks.size,
            turns=data.turns,
            flips=data.flips,
            probabilities=self._probabilities(clips),
        )
        return self._loader.training(clips, plan, start, ranks)

    def _check_shared_memory(self, ranks: Ranks) -> None:
        """Of training batches and, which come while the next ones wait, those of a validation."""
        train = self.settings.train
        if not train.workers:
            return
        try:
            validated = [self.clips("valid")]
        except ConfigError:  # there is none; whoever wants one will say so
            validated = []
        source, count = self.mixture or self.training_clips(), train.batch_size // ranks.size
        self._loader.check_shared_memory(source, count, *validated)

    def _probabilities(self, clips: Clips) -> NDArray[np.float64] | None:
        share = self.settings.data.towards_rain
        return towards_rain(clips.wet_shares(), share) if share else None

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[RadarBatch]:
        """Batches of a split's clips in order of time; see `Task`."""
        clips, train = self.clips(split), self.settings.train
        clips.bring_near()
        size = max(1, train.batch_size // ranks.size)
        self._loader.check_shared_memory(clips, size)
        plan = evaluation_draws(len(clips), size, ranks.rank, ranks.size)
        return self._loader.batches(clips, plan)

    def loss(self, model: nn.Module, batch: RadarBatch) -> Tensor:
        """5e-5 (B-MSE + B-MAE) of the batch."""
        truth = batch.truth
        # Clips of `data.lengths` may be shorter than the forecast.
        details: dict[str, Any] = {}
        if self.settings.model.takes_details:
            details = {"out_len": truth.shape[1], "scale": batch.scale}
        if batch.motion is not None:
            details["motion"] = batch.motion
        members = None
        if self.settings.loss.members:
            assert isinstance(model, ComovingEnsemble)
            count = self.settings.loss.members
            prediction, members = model.learning(batch.inputs, batch.input_mask, count, **details)
        else:
            prediction = model(batch.inputs, batch.input_mask, **details)[:, : truth.shape[1]]
        loss = self._error(prediction, truth, batch)
        if members is not None:
            loss = loss + members_loss(
                members, truth, batch.truth_mask, batch.last, self.archive.calibration
            )
        if self.settings.loss.areas:
            loss = loss + self.settings.loss.areas * area_loss(
                prediction, truth, batch.truth_mask, self.archive.calibration
            )
        return loss

    def _error(self, prediction: Tensor, truth: Tensor, batch: RadarBatch) -> Tensor:
        if self.settings.loss.relative:
            return relative_loss(
                prediction,
                truth,
                batch.truth_mask,
                batch.last,
                self.archive.calibration,
                logarithm=self.settings.loss.relative == "log",
            )
        weight = batch.weight if self.settings.data.reweight else None
        return balanced_loss(prediction, truth, batch.truth_mask, self.archive.calibration, weight)

    def score(self, model: nn.Module, batch: RadarBatch) -> Sums:
        """Sums of the benchmark's scores over the batch; where members are trained, those of
        `verify`, which choose them."""
        if self.settings.loss.members:
            return self.verify(model, batch)
        prediction = _forecast(model, batch)
        return score_frames(prediction, batch.truth, batch.truth_mask, self.archive.calibration)

    def score_parts(
        self, model: nn.Module, batch: RadarBatch, parts: Sequence[NDArray[np.intp]]
    ) -> list[Sums]:
        """See `ScoresParts`."""
        if self.settings.loss.members:
            return [self.verify(model, batch.take(part)) for part in parts]
        prediction, truth, mask = _forecast(model, batch), batch.truth, batch.truth_mask
        calibration = self.archive.calibration
        return [
            score_frames(prediction[which], truth[which], mask[which], calibration)
            for which in map(torch.from_numpy, parts)
        ]

    def verify(self, model: nn.Module, batch: RadarBatch) -> Sums:
        """As `score`, with FSS, spectra, image scores, rain rates and levels too, and of an
        `Ensemble` the scores of its members."""
        ensemble = as_ensemble(model)
        if ensemble is not None:
            # Clip by clip: the members of a whole batch would not fit into memory.
            clips = (batch.take(np.array([clip])) for clip in range(len(batch.times)))
            return pooled([self._verify_members(ensemble, clip) for clip in clips])
        prediction = _forecast(model, batch)
        # Once: most of it is computed on the CPU, frame by frame.
        truth = batch.truth.cpu(), batch.truth_mask.cpu(), self.archive.calibration
        with one_thread():
            return verify_frames(prediction.cpu(), *truth)

    def _verify_members(self, ensemble: Ensemble, batch: RadarBatch) -> Sums:
        members = ensemble.members(batch.inputs, batch.input_mask)
        single = ensemble.single(members, batch.inputs, batch.input_mask).cpu()
        truth = batch.truth.cpu(), batch.truth_mask.cpu(), self.archive.calibration
        with one_thread():
            of_single = verify_frames(single, *truth)
            of_members = member_sums(members.cpu(), *truth, batch.times[:, 0].tolist())
        return Sums({**of_single.values, **of_members.values})

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """B-MSE, B-MAE and CSI, with whatever else comes with them; of sums of `verify` CRPS."""
        curves = benchmark_curves(sums)
        if "rate_absolute" in sums.values:
            curves |= crps_curves(comparable(sums))
        return {name: curve.mean() for name, curve in curves.items()}

    def blocks(self, split: str, batch: RadarBatch) -> list[str]:
        """When the block of each clip began, UTC."""
        clips = self.clips(split)
        first = batch.times[:, 0].numpy().astype("datetime64[m]")
        return [str(start) for start in clips.blocks[np.searchsorted(clips.starts, first)]]

    def block_names(self, split: str) -> list[str]:
        """All blocks of a split in order of time; see `Clips.blocks`."""
        return [str(start) for start in np.unique(self.clips(split).blocks)]

    def read(self, sums: Sums, thresholds: Thresholds | None = None) -> Scores:
        """What they say in the mean and by lead time in minutes.

        Args:
            sums: of `score` or `verify`.
            thresholds: of the forecaster itself, for `fitted_curves`; of sums of `verify`.
        """
        step = self.archive.description.step_minutes
        if "fss_windows" in sums.values:  # they are of `verify`
            return read_verification(sums, step, self.archive.calibration, thresholds)
        return read_scores(sums, step)

    def read_curves(self, sums: Sums) -> Scores:
        """As `read`, the benchmark's scores alone."""
        return read_scores(sums, self.archive.description.step_minutes)

    def data_hash(self) -> str:
        """Of the archive as these settings read it; see `identity`."""
        if self._hash is None:
            self._hash = archive_hash(self.archive, self.settings.data)
            if self.mixture is not None:
                self._hash = digest([self._hash, self.mixture.data_hash()])
        return self._hash

    def facts(self, split: str) -> Mapping[str, Any]:
        """Which clips of which archive, and a note where thresholds in mm/h are nominal."""
        return facts_of(self.clips(split))

    def describe(self, split: str) -> str:
        """How many clips of which archive, of how many frames and pixels."""
        facts = self.facts(split)
        return (
            f"{facts['clips']} clips of {facts['data']}, {split} split, "
            f"{facts['in_len']} -> {facts['out_len']} frames, "
            f"{facts['height']}x{facts['width']} pixels, masks: {facts['masks']}"
        )

    def pictures(self, model: nn.Module, split: str) -> Mapping[str, NDArray[np.uint8]]:
        """Input, truth and forecast of the clips with the most rain, by init time."""
        # Matplotlib, OpenCV and scikit-image are imported where something is drawn.
        from nowcast.precipitation.pictures.reel import forecast
        from nowcast.precipitation.pictures.strip import strip_of

        clips = self.clips(split)
        chosen = [Draw(clip) for clip in clips.wettest(PICTURES)]
        batch = clips.batch(chosen)
        prediction = forecast(model, batch)
        about = self.archive.description.step_minutes, self.archive.calibration
        return {
            f"init {name}": strip_of(batch, prediction, position, *about)
            for position, name in enumerate(batch.names())
        }

    def reels(self, models: Mapping[str, nn.Module], split: str) -> list[Reel]:
        """The clips with the most rain as each model sees them coming; see `reel`."""
        from nowcast.precipitation.pictures.reel import reels

        return reels(self.clips(split), models)

    def gallery(
        self,
        parts: Mapping[str, Mapping[str, Sums]],
        models: Mapping[str, nn.Module],
        split: str,
        out: Path,
    ) -> Mapping[str, Path]:
        """Performance diagram, spectra, best and worst episode; see `gallery`."""
        from nowcast.precipitation.pictures.gallery import write_gallery

        clips = self.clips(split)
        return write_gallery(parts, self.reference, self.read_columns, clips, models, out)

    def groups(self, feature: str, batch: RadarBatch) -> list[str]:
        """Rain rate, day or motion of each clip; see `features`."""
        return groups(feature, batch, self.archive.calibration.rate_from_pixel)

    def _training_size(self) -> tuple[int, int]:
        random_crop = self.settings.data.random_crop
        size = random_crop if self.mixture and random_crop else self.training_clips().frame_size
        try:
            check_divides(size, self.settings.model.multiple)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if self.settings.data.turns and size[0] != size[1]:
            raise ConfigError(
                f"data.turns: expected square frames to turn, found {size[0]}x{size[1]}; set "
                "data.random_crop or data.crop to a square, or data.turns: false"
            )
        return size


def _forecast(model: nn.Module, batch: RadarBatch) -> Tensor:
    """The forecast of a batch, along its motion where the forecaster takes one."""
    takes = batch.motion is not None and isinstance(model, Comoving | Lagrangian)
    details = {"motion": batch.motion} if takes else {}
    found: Tensor = model(batch.inputs, batch.input_mask, **details)
    return found
