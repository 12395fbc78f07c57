"""The support bank: a few labelled films of each finding, which answer for new ones, or abstain."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fewshot_cxr._html import counts_text, facts_text, html_table
from fewshot_cxr._progress import Bar
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.inference.bank.answering import Grounds, answer_files, asked_films
from fewshot_cxr.inference.bank.asked_points import asked_points
from fewshot_cxr.inference.bank.comparing import measure_by
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.bank.file import read_bank, write_bank
from fewshot_cxr.inference.bank.fitted import Exemplars, Fitted
from fewshot_cxr.inference.bank.gathering import Films, exemplars_of, records_of
from fewshot_cxr.inference.bank.receipt import Receipt, content_hash, named_part
from fewshot_cxr.inference.bank.terms import BankTerms, find_encoder, given_encoder, merged_terms, terms_of
from fewshot_cxr.inference.rules import TRANSDUCTIVE
from fewshot_cxr.records import Records


@dataclass(frozen=True, eq=False, repr=False)
class SupportBank:
    """Labelled exemplars, and how they answer for new films. A value: what changes it returns another one.

    Args:
        table: the exemplars.
        terms: how they decide, and by which encoder they were embedded.
        fitted: what makes probabilities and sets, and from where on a film is unknown.
        encoder: for films to come; None: it is looked for when the first one comes.
        notes: what was done, in words.
        receipt: of the last removal.
        is_self_contained: its file holds the weights of its encoder.
        index: how the nearest of many exemplars are found, a name in KINDS; see `NearestIndex`. It stands in no file.
    """

    table: ExemplarTable
    terms: BankTerms
    fitted: Fitted = field(default_factory=Fitted)
    encoder: Encoder | None = None
    notes: tuple[str, ...] = ()
    receipt: Receipt | None = None
    is_self_contained: bool = False
    index: str = "auto"

    @classmethod
    def build(
        cls,
        encoder: Encoder | str | Path,
        records: Records,
        *,
        n_exemplars: int | None = 20,
        choice: str = "random",
        rule: str | None = None,
        distance: str | None = None,
        options: Mapping[str, Any] | None = None,
        thumbnails: bool = False,
        seed: int = 0,
        device: str = "auto",
        progress: Bar | None = None,
    ) -> "SupportBank":
        """Build a bank of labelled films, and calibrate it on them, where they allow it.

        Args:
            encoder: or its run folder.
            records: films of one finding each, of two findings or more.
            n_exemplars: of each finding, spread over patients first; None: all.
            choice: a name in CHOICES, where there are more films than that.
            rule: a name in RULES that decides each film by itself; None: what the encoder was made for, else
                mean_distance.
            distance: a name in DISTANCES; None: as in training.
            options: further keyword arguments of the rule.
            thumbnails: keep a picture of 64 px of each exemplar, for whoever has the file to look at.
            seed: of the choice.
            device: "auto", "cpu", "cuda" or "cuda:N".
            progress: called with (films embedded, in all).

        Raises:
            ValueError: random weights, a transductive rule, fewer than two findings, or one film by two findings.
            FileNotFoundError: no film is readable.
        """
        loaded, terms = terms_of(encoder, rule=rule, distance=distance, options=options)
        if terms.rule in TRANSDUCTIVE:
            raise ValueError(f"rule {terms.rule!r} judges all films together: take one such as mean_distance")
        how: dict[str, Any] = {"choice": choice, "distance": terms.distance, "seed": seed, "thumbnails": thumbnails}
        table, notes = exemplars_of(loaded, records, n_exemplars, device=device, progress=progress, **how)
        terms = replace(terms, choice="all" if n_exemplars is None else choice)
        bank = cls(table, terms, encoder=loaded, notes=notes)
        _ = bank.exemplars.decider  # what cannot decide is refused now
        return replace(bank, fitted=bank.fitted.after_change(bank.exemplars))

    @cached_property
    def exemplars(self) -> Exemplars:
        """What decides."""
        return Exemplars(self.table, self.terms, index=self.index)

    @cached_property
    def grounds(self) -> Grounds:
        """What it answers on."""
        return self.fitted.grounds(self.exemplars)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it knows, by name."""
        return tuple(sorted(set(self.table.findings)))

    def __len__(self) -> int:
        return len(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SupportBank) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of exemplars and terms; neither calibration nor dates play a part."""
        return content_hash(self.table, self.terms)

    def add(self, finding: str, films: Films, *, cache_folder: str | Path | None = None) -> "SupportBank":
        """Return a bank that knows these films, too: seconds, and no training.

        Args:
            finding: what they show, a new name or a known one.
            films: Records, whose patients are known; or files, or a folder, each film a patient of its own.
            cache_folder: of decoded films; None: that of all.

        Raises:
            FileNotFoundError: no film is readable.
            ValueError: a film is in the bank by another finding.
        """
        has_thumbnails = self.table.thumbnails is not None
        how = {"thumbnails": has_thumbnails, "cache_folder": cache_folder}
        new, notes = exemplars_of(self.own_encoder(), records_of(films, finding), **how)  # type: ignore[arg-type]  # of their own types
        return self._with(self.table.joined(new), notes=notes)

    def remove(
        self, *, finding: str | None = None, film: str | None = None, patient: str | None = None
    ) -> "SupportBank":
        """Return a bank without a finding, a film or a patient, with the receipt of that; name one of the three.

        Args:
            finding: by name.
            film: as the bank shows it: its path, with # and its digest where several have that.
            patient: the id that it was read with.

        Raises:
            ValueError: not one is named, it is not there or several are, or fewer than two findings are left.
        """
        what, name = named_part(finding=finding, film=film, patient=patient)
        smaller = self._with(self.table.without(what, name))
        receipt = Receipt(what, len(self) - len(smaller), self.content_hash, smaller.content_hash)
        return replace(smaller, receipt=receipt)

    def merge(self, other: "SupportBank") -> "SupportBank":
        """Return a bank of the exemplars of both; patients of one id are taken for one.

        Args:
            other: of the same encoder, rule and distance.

        Raises:
            ValueError: it is not, or the two call a film by two findings.
        """
        merged = replace(self, terms=merged_terms(self.terms, other.terms))
        return merged._with(self.table.joined(other.table))

    def calibrate(
        self,
        films: Records | None = None,
        *,
        level: float = 0.9,
        false_reject_rate: float = 0.05,
        sensitivity: Mapping[str, float] | None = None,
        specificity: Mapping[str, float] | None = None,
    ) -> "SupportBank":
        """Return a bank whose probabilities, sets and limits rest on films kept apart, or on its exemplars alone.

        Args:
            films: of patients who have no exemplar, of findings that the bank knows; None: the exemplars.
            level: the share of sets that are to hold the true finding.
            false_reject_rate: the share of patients with a known finding who may be called unknown.
            sensitivity: finding -> sensitivity to call it with; None: as before.
            specificity: likewise; those of before stay where neither is stated.

        Raises:
            ValueError: films of the encoder's training, patients who have exemplars, or too few patients.
        """
        wanted = replace(self.fitted, level=level, rate=false_reject_rate)
        points = asked_points(self.findings, sensitivity, specificity)
        if films is None:
            return replace(self, fitted=wanted.on_exemplars(self.exemplars, points))
        others, notes = exemplars_of(self.own_encoder(), films)
        return replace(self, fitted=wanted.on_films(self.exemplars, others, points), notes=notes)

    def predict(
        self,
        films: str | Path | Sequence[str | Path],
        *,
        never_abstain: bool = False,
        n_nearest: int = 3,
        prevalence: Mapping[str, float] | None = None,
    ) -> Any:
        """Answer for a film, or for several.

        Args:
            films: a file, or a list of files.
            never_abstain: name the nearest finding whatever is to be said against it; the answer says so.
            n_nearest: exemplars that an answer shows.
            prevalence: finding -> share of the patients where the films come from; others share the rest.

        Returns:
            An `Answer`, or a list of them in the order of the files. A film that cannot be read is one that abstains.
        """
        files: Sequence[str | Path] = [films] if isinstance(films, (str, Path)) else films
        found = list(self.answers(files, never_abstain=never_abstain, n_nearest=n_nearest, prevalence=prevalence))
        return found[0] if isinstance(films, (str, Path)) else found

    def answers(
        self,
        files: Sequence[str | Path],
        *,
        never_abstain: bool = False,
        n_nearest: int = 3,
        any_modality: bool = False,
        batch_size: int = 64,
        device: str = "auto",
        prevalence: Mapping[str, float] | None = None,
    ) -> Iterator[Answer]:
        """Yield an answer for each file, in order and in constant memory; arguments as of `predict`, and of `embed`."""
        encoder, sizes = self.own_encoder(), {"batch_size": batch_size, "any_modality": any_modality}
        films = asked_films(encoder.image_spec, files, measure_by(encoder, device), **sizes)  # type: ignore[arg-type]  # of their own types
        how = {"never_abstain": never_abstain, "n_nearest": n_nearest}
        yield from answer_files(self.grounds, films, prevalence=prevalence, **how)  # type: ignore[arg-type]  # likewise

    def fitted_json(self) -> dict[str, Any]:
        """Return what it knows of its own answers, plain JSON values."""
        return self.fitted.to_json()

    def own_encoder(self) -> Encoder:
        """Return the encoder; one that is not at hand is looked for beside the file, here and where it is published."""
        found = self.encoder or find_encoder(self.terms)
        object.__setattr__(self, "encoder", found)
        return found

    def save(self, path: str | Path, *, self_contained: bool | None = None) -> None:
        """Write the bank in one file, whole or not at all.

        Args:
            path: the file, replaced.
            self_contained: with the weights of its encoder, for machines that have them not; None: as it was read.

        Raises:
            OSError: it cannot be written, or another process writes it.
        """
        is_whole = self.is_self_contained if self_contained is None else self_contained
        write_bank(path, self.table, self.terms, self.fitted.to_json(), self.own_encoder() if is_whole else None)

    @classmethod
    def load(
        cls, path: str | Path, encoder: Encoder | str | Path | None = None, *, weights: str | Path | None = None
    ) -> "SupportBank":
        """Read a bank.

        Args:
            path: the file.
            encoder: its encoder, or the run folder of it; None: the one in the file, beside it or where it is
                published, looked for when a film is to be answered.
            weights: the file that a published encoder started from.

        Raises:
            OSError: there is no such file, or it is damaged.
            ValueError: it is no bank, of a newer format, or of another encoder.
        """
        table, terms, told, inside = read_bank(path)
        if (own := inside if encoder is None else None) is None:
            own = given_encoder(terms, encoder, weights=weights)
        return cls(table, terms, Fitted.from_json(told), own, is_self_contained=inside is not None)

    def __repr__(self) -> str:
        return facts_text("SupportBank", self.facts())

    def _repr_html_(self) -> str:
        return html_table(self.facts(), caption="SupportBank")

    def facts(self) -> list[tuple[str, str]]:
        """Return what it is, in words."""
        counts = f"{len(self):,}: {counts_text(Counter(self.table.findings))}"
        facts = [("exemplars", counts), ("encoder", self.terms.encoder_name)]
        return [*facts, ("rule", f"{self.terms.rule}, {self.terms.distance}"), *self.fitted.words()]

    def _with(self, table: ExemplarTable, notes: tuple[str, ...] = ()) -> "SupportBank":
        changed = replace(self, table=table, notes=notes, receipt=None)
        return replace(changed, fitted=self.fitted.after_change(changed.exemplars))
