"""A damaged database of scores: what is whole in it is kept, nothing wrong is read, and it is said."""

import os
import random
import sqlite3
from pathlib import Path

import pytest
from test_ledger import score

from samat_mm.evaluation import scores_file
from samat_mm.evaluation.ledger import Ledger
from samat_mm.evaluation.scores_file import mend

ATTACKS = ('clean', 'pgd@4/255')
SCORES = {attack: {number: score(number, loss=float(number)) for number in range(8)} for attack in ATTACKS}


@pytest.fixture
def said(monkeypatch):
    """What is said about damage."""
    texts = []
    monkeypatch.setattr(scores_file, 'print_log', lambda text, *_: texts.append(text))
    return texts


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    Ledger(folder, 0).write(SCORES)
    return (folder / 'scores-0.sqlite').read_bytes()


def damage(content, seed):
    """Return the content with a flipped bit, a damaged header, changed bytes, a lost page, or its end cut off."""
    source, changed = random.Random(seed), bytearray(content)
    anywhere = source.randrange(len(changed))
    if seed % 5 == 0:
        changed[anywhere] ^= 1 << source.randrange(8)
    elif seed % 5 == 1:
        changed[anywhere % 100] = source.randrange(256)
    elif seed % 5 == 2:
        for _ in range(source.randrange(1, 30)):
            changed[source.randrange(len(changed))] = source.randrange(256)
    elif seed % 5 == 3:
        start = anywhere // 4096 * 4096
        changed[start : start + 4096] = source.randbytes(4096)
    else:
        del changed[anywhere:]
    return bytes(changed)


def read_whole(folder):
    """Read what there is, check it, score the other images again; returns how many scores were there."""
    ledger, kept = Ledger(folder, 1), 0
    for attack, scores in SCORES.items():
        read = ledger.read(attack)
        assert set(read) == ledger.images(attack) <= set(scores)
        assert all(one.loss == number and one.results[0][0][0][0] == number for number, one in read.items())
        kept += len(read)
        missing = {number: one for number, one in scores.items() if number not in read}
        if missing:
            ledger.write({attack: missing})
        assert [one.loss for one in ledger.read_images(range(8), attack)] == list(range(8))
    return kept


def test_whatever_is_damaged_the_numbers_are_the_same_in_the_end(content, tmp_path, said):
    kept = []
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / 'scores-0.sqlite').write_bytes(damage(content, seed))
        mend(folder)
        kept.append(read_whole(folder))
        assert (folder / 'scores-0.sqlite.damaged').exists() == bool(said)
        assert all(f'{folder}/scores-0.sqlite is damaged (' in text for text in said)
        assert said or kept[-1] in (16, 0)  # 0: cut off at the first byte, as a file that was never written
        said.clear()
    assert 0 < sum(number == 16 for number in kept) < 40
    assert sum(0 < number < 16 for number in kept) > 10  # a part was saved


def test_a_digest_covers_image_and_attack(content, tmp_path, said):
    """A score under another number would be a wrong number."""
    file = tmp_path / 'scores-0.sqlite'
    file.write_bytes(content)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE scores SET image = 9 WHERE image = 3 AND attack = 'clean'")
        database.execute("UPDATE scores SET attack = 'clean', image = 3 WHERE image = 4 AND attack != 'clean'")
    assert Ledger(tmp_path, 0).images('clean') == set(range(8)) - {3}
    with pytest.raises(ValueError, match=r'results of number 3 under clean are missing or damaged in .* run the same'):
        Ledger(tmp_path, 0).read_images(range(8), 'clean')
    mend(tmp_path)
    assert '2 digests do not fit' in said[0]
    assert read_whole(tmp_path) == 14


def test_scores_of_an_older_version_are_made_again(content, tmp_path, said):
    """Their numbers may have been other ones, and they have no digests."""
    file = tmp_path / 'scores-0.sqlite'
    file.write_bytes(content)
    with sqlite3.connect(file) as database:
        database.execute('CREATE TABLE old (attack TEXT, image INTEGER, score BLOB, PRIMARY KEY (attack, image))')
        database.execute('INSERT INTO old SELECT attack, image, score FROM scores')
        database.execute('DROP TABLE scores')
        database.execute('ALTER TABLE old RENAME TO scores')
    mend(tmp_path)
    assert 'older version' in said[0]
    assert read_whole(tmp_path) == 0


def test_damage_that_comes_while_a_test_runs_is_a_sentence(content, tmp_path):
    (tmp_path / 'scores-0.sqlite').write_bytes(b'no database' * 1000)
    with pytest.raises(ValueError, match=r'results in .*scores-0\.sqlite are damaged .*run the same command again'):
        Ledger(tmp_path, 1).read('clean')
    with pytest.raises(ValueError, match='file is not a database'):
        Ledger(tmp_path, 0).write({'clean': {0: score()}})


def test_a_file_that_another_process_holds_is_not_damaged(content, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_file, 'PATIENCE', 0.0)
    file = tmp_path / 'scores-0.sqlite'
    file.write_bytes(content)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute('BEGIN EXCLUSIVE')
    for use in (mend, lambda folder: Ledger(folder, 0).read('clean')):
        with pytest.raises(OSError, match=r'scores-0\.sqlite is in use by another process \(database is locked\)'):
            use(tmp_path)
    holder.close()
    assert not list(Path(tmp_path).glob('*.damaged'))
    assert read_whole(tmp_path) == 16


@pytest.mark.parametrize('text', ['database or disk is full', 'unable to open database file', 'disk I/O error'])
def test_a_disk_that_is_full_or_gone_is_not_a_damaged_file(text, content, tmp_path, monkeypatch):
    (tmp_path / 'scores-0.sqlite').write_bytes(content)

    def fail(*_, **__):
        raise sqlite3.OperationalError(text)

    monkeypatch.setattr(sqlite3, 'connect', fail)
    for use in (mend, lambda folder: Ledger(folder, 0).read('clean')):
        with pytest.raises(OSError, match=rf'scores-0\.sqlite cannot be read or written \({text}\); make room'):
            use(tmp_path)
    assert os.listdir(tmp_path) == ['scores-0.sqlite']
