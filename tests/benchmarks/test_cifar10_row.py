"""The row of table 2 on the fake device, ``cpu``: in its time, the same numbers after a kill, and its parts."""

import io
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmpretrain.structures import DataSample
from PIL import Image

from samat_mm.model_state import unwrapped

TINY = ROOT / 'benchmarks' / 'configs' / 'tiny_cifar10.py'
COUNT = 16


@pytest.fixture(scope='module')
def row():
    """The modules of the benchmark, which import each other by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        import cifar10_row
        from cifar10 import evaluation, images, plan, training, worker

        modules = dict(evaluation=evaluation, images=images, plan=plan, training=training, worker=worker)
        yield {'row': cifar10_row, **modules}


def packed(count: int) -> dict[str, np.ndarray]:
    """Smooth images of a few colours as jpeg files, one after another."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        stream = io.BytesIO()
        picture = Image.fromarray(random.integers(256, size=(4, 4, 3), dtype=np.uint8)).resize((32, 32))
        picture.save(stream, 'jpeg')
        files.append(stream.getvalue())
    return {
        'bytes': np.frombuffer(b''.join(files), dtype=np.uint8),
        'offsets': np.cumsum([0, *map(len, files)]),
        'labels': (np.arange(count) % 10).astype(np.uint8),
    }


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cifar10')
    arrays = {f'{split}_{key}': value for split in ('train', 'test') for key, value in packed(COUNT + 4).items()}
    np.savez(folder / 'jpeg.npz', **arrays)
    return folder


def command(files, folder, *more):
    options = {'--data': files / 'jpeg.npz', '--model': TINY, '--images': COUNT, '--batch': COUNT}
    places = {'--out': folder / 'row.json', '--work-dir': folder / 'work'}
    return [str(part) for pair in {**options, **places}.items() for part in pair] + list(map(str, more))


def test_after_a_kill_the_same_command_gives_the_numbers_of_an_uninterrupted_run(row, files, tmp_path, monkeypatch):
    monkeypatch.setattr(row['plan'], 'MOST_EPOCHS', 16)
    arguments = command(files, tmp_path, '--minutes', 2, '--methods', 'sam-0.2', '--attacks', 'fgsm', 'pgd-linf')
    process = multiprocessing.get_context('fork').Process(target=row['row'].main, args=(arguments,))
    process.start()
    part, out = tmp_path / 'work' / 'sam-0.2' / 'part.json', tmp_path / 'row.json'
    wait_until(lambda: loaded(part).get('epochs_done', 0) > 0)
    process.kill()
    process.join()
    wait_until(lambda: not processes_about(tmp_path), 10)
    killed, cut_off = loaded(part), json.loads(out.read_text())
    assert cut_off['complete'] is False and 0 < killed['epochs_done'] < cut_off['schedule']['epochs']

    row['row'].main(arguments)
    found = json.loads(out.read_text())
    went_on = found['methods']['sam-0.2']
    assert found['complete'] is True and 'not its exact pixels' in found['data']['note']
    assert went_on['seconds_of_epochs'][: killed['epochs_done']] == killed['seconds_of_epochs']  # not trained again
    assert went_on['epochs_done'] == found['schedule']['epochs'] and went_on['gradients_per_step'] == 2
    assert set(went_on['results']) == {'natural', 'fgsm', 'pgd-linf'}
    assert went_on['paper'] == {'natural': 95.5, 'fgsm': 66.7, 'pgd-linf': 51.3, 'pgd-l2': 53.4, 'autoattack': 48.1}

    other = tmp_path / 'other'
    arguments = command(files, other, *arguments[arguments.index('--methods') :], '--epochs', went_on['epochs_done'])
    args = row['row'].parsed(arguments)
    row['row'].record_settings(args, row['row'].settings_of(args))
    (other / 'work' / 'sam-0.2').mkdir()
    row['worker'].Worker(other / 'work', 'sam-0.2', row['row'].Deadline(None)).run()
    whole = json.loads((other / 'work' / 'sam-0.2' / 'part.json').read_text())
    assert whole['state'] == went_on['state'] == 'done' and whole['losses'] == went_on['losses']
    accuracies = [{name: entry['accuracy'] for name, entry in one['results'].items()} for one in (whole, went_on)]
    assert accuracies[0] == accuracies[1]
    weights = [torch.load(folder / 'work' / 'sam-0.2' / 'checkpoint.pth')['state_dict'] for folder in (tmp_path, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    parts_of_attacks(row, args, other / 'work')


def parts_of_attacks(row, args, work):
    """AutoAttack runs part by part, and parts that do not fit are left out; PGD replaces it here."""
    settings = row['row'].settings_of(args)
    settings = row['worker'].Settings(**{**vars(settings), 'attacks': ('autoattack',)})
    files, told = row['worker'].Files(work, 'sam-0.2'), []
    evaluate, never = row['evaluation'].evaluate, row['row'].Deadline(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row['evaluation'], 'BATCH', 6)
        patch.setitem(row['evaluation'].ATTACKS, 'autoattack', 'pgd-l2-classification')
        assert evaluate(settings, files, never, 1e-9, lambda results: told.append(json.loads(json.dumps(results))))
        assert [found['autoattack']['images'] for found in told[1:]] == [6, 12, 16]
        assert list(told[-1]['autoattack']['parts']) == ['6', '12', '16'] and told[-1]['natural']['images'] == 16
        told.clear()
        short = row['row'].Deadline(1)
        assert not evaluate(settings, files, short, 0.1, lambda results: told.append(dict(results)))
        assert [list(found) for found in told] == [['natural']]  # 5,000 passes would take 50 minutes


def test_autoattack_comes_last_and_in_parts_after_the_natural_accuracy_on_all_images(row):
    settings = row['worker'].Settings('', '', '', 'cpu', 0, 8, None, ('fgsm', 'autoattack'))
    tests = list(row['evaluation']._tests(settings, 2500))
    assert [(name, list(attack), first, last) for name, attack, first, last in tests] == [
        ('natural', [], 0, 1000),
        ('fgsm', ['fgsm-linf'], 0, 1000),
        ('natural, all images', [], 1000, 2500),
        *(('autoattack', ['autoattack-l2'], first, first + 250) for first in (0, 250, 500, 750)),
    ]
    described = tests[-1][1]['autoattack-l2'].describe()
    assert (described['norm'], described['eps'], described['steps']) == ('l2', pytest.approx(32 / 255), 100)


def loaded(file: Path) -> dict:
    return json.loads(file.read_text()) if file.exists() else {}


def wait_until(happened, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def processes_about(folder: Path) -> list[str]:
    """The command lines that name a folder, where the system tells of other processes."""
    found = []
    for file in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            line = file.read_bytes().decode(errors='replace')
        except OSError:  # ended meanwhile
            continue
        found += [line] if str(folder) in line else []
    return found


def test_the_run_on_a_gpu_gives_arguments_that_are_taken(row, files, tmp_path):
    import gpu_parts

    part = gpu_parts.PARTS[-1]
    places = dict(data=files / 'jpeg.npz', out=tmp_path / 'out', work_dir=tmp_path / 'work', environment={})
    setting = gpu_parts.Setting(minutes=1, deadline=row['row'].Deadline(1), device='cpu', **places)
    script, *arguments = gpu_parts.arguments(part, setting, 30)
    settings = row['row'].settings_of(row['row'].parsed(arguments))
    assert script == 'benchmarks/cifar10_row.py' and part.needs_data
    assert (settings.images, settings.attacks) == (32, ('fgsm',))


def test_it_ends_in_time_with_a_whole_file(row, files, tmp_path, capsys):
    start = time.monotonic()
    row['row'].main(command(files, tmp_path, '--minutes', 0.06, '--methods', 'sgd'))
    assert time.monotonic() - start < 0.06 * 60 + 3  # which a busy machine may take to end processes
    found = json.loads((tmp_path / 'row.json').read_text())
    assert found['complete'] is False and found['methods']['sgd'].get('results') is None
    assert 'Not complete' in capsys.readouterr().out and not processes_about(tmp_path)


def test_the_epochs_fit_the_time_that_tests_leave(row):
    epochs = row['plan'].planned_epochs
    assert epochs(100, 5, 12) == 16  # (100 - 12) / 5.5
    assert epochs(100, 5, 1e9) == 10  # 60 / 5.5
    assert epochs(100, 61, 1e9) == 0 and epochs(-1, 1, 1) == 0
    assert epochs(1e9, 1, 1) == 100
    settings = row['worker'].Settings('', '', '', 'cpu', 0, 32, None, ('fgsm',))
    parts = {name: {'seconds_per_step': seconds, 'train_images': 100} for name, seconds in (('sgd', 1), ('sam-0.2', 2))}
    plan = row['plan'].plan_for(500, parts, settings)
    assert plan['measured_seconds_per_epoch'] == {'sgd': 4, 'sam-0.2': 8}
    # 1,000 images, each clean once and 3 times under FGSM, at a third of a step of 25 images on average
    assert plan['expected_seconds_of_tests'] == pytest.approx({'sgd': 4000 * 4 / 300, 'sam-0.2': 4000 * 8 / 600})
    assert plan['epochs'] == int((500 - 4000 * 4 / 300) / 8.8) == 50


def test_the_rate_falls_at_three_quarters_and_at_nine_tenths(row):
    rates = [row['training'].learning_rate(step, 20) for step in range(20)]
    assert rates == pytest.approx([0.1] * 15 + [0.01] * 3 + [0.001] * 2)


def test_crops_of_images_padded_by_reflection_half_of_them_mirrored(row):
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8)
    numbers = torch.arange(200) % 5
    found = row['images'].augmented(images, numbers, torch.Generator().manual_seed(0))
    assert found.shape == (200, 3, 32, 32) and found.is_contiguous(memory_format=torch.channels_last)
    places = []
    for number, crop in zip(numbers.tolist(), found.permute(0, 2, 3, 1).numpy(), strict=True):
        padded = np.pad(images[number].numpy(), ((4, 4), (4, 4), (0, 0)), 'reflect')
        candidates = {
            (y, x, mirrored): padded[y : y + 32, x : x + 32][:, :: -1 if mirrored else 1]
            for y in range(9)
            for x in range(9)
            for mirrored in (False, True)
        }
        places += [place for place, pixels in candidates.items() if np.array_equal(pixels, crop)]
    assert len(places) == 200
    heights, widths, mirrored = zip(*places, strict=True)
    assert set(heights) == set(widths) == set(range(9)) and 70 < sum(mirrored) < 130


def test_one_sample_with_all_labels_gives_the_loss_of_a_sample_for_each(row, files):
    settings = row['worker'].Settings('', '', str(TINY), 'cpu', 0, 8, None, ())
    split = row['images'].read_split(files / 'jpeg.npz', 'train')
    assert len(split) == COUNT + 4 and split.labels[11] == 1
    model = unwrapped(row['training'].Training(settings, {'type': 'AnyDeviceAmpOptimWrapper'}, split).model)
    batch = row['images'].training_batch(split, torch.tensor([3, 11, 12]), torch.Generator().manual_seed(0))
    each = {**batch, 'data_samples': [DataSample().set_gt_label(label) for label in (3, 1, 2)]}
    losses = [model(**model.data_preprocessor(given, True), mode='loss')['loss'] for given in (batch, each)]
    assert torch.equal(*losses) and losses[0] > 0


def test_mistakes_are_sentences(row, files, tmp_path, capsys):
    good = dict(np.load(files / 'jpeg.npz'))
    bad = {
        'keys': {key: value for key, value in good.items() if key != 'test_labels' and key != 'train_labels'},
        'offsets': {**good, 'train_offsets': good['train_offsets'][:-1]},
        'labels': {**good, 'train_labels': good['train_labels'] + np.uint8(9)},
        'jpeg': {**good, 'train_bytes': np.roll(good['train_bytes'], 1)},
    }
    for name, arrays in bad.items():
        np.savez(tmp_path / f'{name}.npz', **arrays)
    (tmp_path / 'text.npz').write_text('no archive')
    (tmp_path / 'cut.npz').write_bytes((files / 'jpeg.npz').read_bytes()[:3000])
    for name, said in {
        'keys': 'needs to be an .npz with train_bytes, train_offsets, train_labels',
        'text': 'needs to be an .npz with',
        'cut': 'needs to be an .npz with',
        'offsets': '20 labels, 20 offsets',
        'labels': 'labels of 0 to 9',
        'jpeg': 'train image 0 of',
        'none': 'is not a file',
    }.items():
        with pytest.raises((ValueError, OSError), match=said):
            row['images'].read_split(tmp_path / f'{name}.npz', 'train')

    begun = tmp_path / 'begun'
    args = row['row'].parsed(command(files, begun, '--epochs', 2))
    row['row'].record_settings(args, row['row'].settings_of(args))
    for folder, more, said in (
        (tmp_path, (), 'give --minutes, or --epochs'),
        (tmp_path, ('--epochs', 0), '--epochs must be greater than 0'),
        (tmp_path, ('--minutes', 'nan'), '--minutes must be greater than 0'),
        (begun, ('--epochs', 2, '--seed', 1), 'another seed (0, and 1 now)'),
        (begun, ('--epochs', 3), 'another epochs (2, and 3 now)'),
        (tmp_path, ('--epochs', 1, '--data', tmp_path / 'none.npz'), 'is not a file'),
    ):
        with pytest.raises(SystemExit) as end:
            row['row'].main(command(files, folder, *more))
        assert end.value.code == 1 and said in capsys.readouterr().err
