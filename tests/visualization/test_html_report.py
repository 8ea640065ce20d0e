"""The page has the content of the document, is self-contained, and escapes names."""

import copy
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from samat_mm.visualization.html_report import write_html

VOID = {'meta', 'wbr', 'img', 'br', 'link', 'input', 'hr'}
REPORT = {
    'config': 'configs/deeplabv3_voc_sam.py',
    'checkpoint': 'work_dirs/voc/iter_30000.pth',
    'seed': 3,
    'samples': 1449,
    'results': {
        'clean': {'aAcc': 93.456, 'mIoU': 74.604, 'mAcc': 84.0},
        'pgd-linf': {
            'aAcc': 40.125,
            'mIoU': 12.3456,
            'mAcc': None,
            'attack': {'type': 'PGD', 'norm': 'linf', 'eps': 1 / 255, 'step_size': 0.25 / 255, 'steps': 10, 'seed': 0},
            'seconds': 12.34,
            'forwards': 11.0,
            'backwards': 10.0,
        },
        'sea-linf': {
            'aAcc': 20.0,
            'mIoU': 9.0,
            'mAcc': 8.0,
            'worst_case_mIoU': 7.654,
            'attack': {'type': 'SEA', 'norm': 'linf', 'eps': 1 / 255, 'steps': 300, 'random_start': True},
            'seconds': 900.06,
            'forwards': 901.25,
            'backwards': 900.0,
        },
        'pixle': {'aAcc': 50.0, 'mIoU': 30.0, 'mAcc': 31.0, 'attack': {'type': 'Pixle', 'widths': '2-10'}},
    },
    'evaluation': {'mode': 'whole', 'input_size': '240x320', 'craft_dtype': 'bfloat16', 'seconds': 7384.2},
    'per_class': {
        'metric': 'IoU',
        'classes': ['sky', 'tree', 'road'],
        'values': {'clean': [90.0, None, 50.5], 'pgd-linf': [10.25, None, 20.0], 'sea-linf': [5.0, None, 3.0]},
    },
    'sanity': [
        {'check': 'eps = 0 equals clean', 'verdict': 'pass', 'detail': 'mIoU 74.60 both times.'},
        {'check': 'more radius, less score', 'verdict': 'FAIL', 'detail': 'it rises.'},
        {'check': 'more steps, more loss', 'verdict': 'no evidence', 'detail': 'it hardly rises.'},
    ],
    'versions': {'torch': '2.13.0', 'samat-mm': '0.1.0'},
}


class Page(HTMLParser):
    """Texts of a page: tables as rows of cells, terms with their descriptions, and all tags with attributes."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.terms, self.tags, self.open = [], [], [], []
        self.texts = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')
        elif tag in ('dt', 'dd'):
            self.terms.append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # every element is closed where it was opened

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts[self.open[-1] if self.open else ''] = self.texts.get(self.open[-1] if self.open else '', '') + data
        if {'td', 'th'} & set(self.open):
            self.tables[-1][-1][-1] += data
        elif {'dt', 'dd'} & set(self.open):
            self.terms[-1] += data

    def all_text(self):
        return ' '.join(' '.join(self.texts.values()).split())


def page_of(report, tmp_path, pictures=()):
    write_html(report, tmp_path / 'new' / 'report.html', pictures)
    text = (tmp_path / 'new' / 'report.html').read_text(encoding='utf-8')
    return Page(text), text


def picture_of(attack, number, tmp_path):
    path = tmp_path / attack / f'{number:06d}-x.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (4, 4)).save(path)
    return path


def changed(**changes):
    return {**copy.deepcopy(REPORT), **changes}


def test_the_headline_table_holds_the_numbers_of_the_document(tmp_path):
    page, _ = page_of(REPORT, tmp_path)
    _, head, *rows = page.tables[0]
    assert head == [
        'attack',
        'radius',
        'steps',
        'mIoU',
        'drop',
        'aAcc',
        'mAcc',
        'worst case mIoU',
        'forward',
        'backward',
        'seconds',
    ]
    assert rows == [
        ['clean', '', '', '74.60', '', '93.46', '84.00', '', '', '', ''],
        ['pgd-linf', 'linf 1/255', '10', '12.35', '62.26', '40.12', 'NaN', '', '11', '10', '12.3'],
        ['sea-linf', 'linf 1/255', '300', '9.00', '65.60', '20.00', '8.00', '7.65', '901.2', '900', '900.1'],
        ['pixle', '', '', '30.00', '44.60', '50.00', '31.00', '', '', '', ''],
    ]


def test_the_first_sentence_is_the_result(tmp_path):
    page, _ = page_of(REPORT, tmp_path)
    sentence = 'mIoU 74.60 on 1449 clean images, 9.00 under sea-linf, the lowest of 3 attacks.'
    assert sentence in page.all_text()
    page, _ = page_of(changed(results={'clean': {'accuracy/top1': 91.0}}), tmp_path)
    assert 'accuracy/top1 91.00 on 1449 clean images.' in page.all_text()


def test_the_numbers_of_each_class(tmp_path):
    page, text = page_of(REPORT, tmp_path)
    assert page.tables[1] == [
        ['class', 'clean', 'pgd-linf', 'sea-linf'],
        ['sky', '90.00', '10.25', '5.00'],
        ['tree', 'NaN', 'NaN', 'NaN'],
        ['road', '50.50', '20.00', '3.00'],
    ]
    assert '2 of 2 classes' in text


def test_verdicts_and_how_it_was_measured(tmp_path):
    page, text = page_of(REPORT, tmp_path)
    assert '1 of 3 sanity checks failed: more radius, less score.' in text
    assert '1 of 3 sanity checks are no evidence: more steps, more loss.' in text
    verdicts = re.findall(r'<span( class="\w+")?>(pass|FAIL|no evidence)</span>', text)
    assert verdicts == [('', 'pass'), (' class="bad"', 'FAIL'), (' class="unseen"', 'no evidence')]
    terms = dict(zip(page.terms[::2], (' '.join(value.split()) for value in page.terms[1::2]), strict=True))
    assert terms['checkpoint'] == 'work_dirs/voc/iter_30000.pth'
    assert terms['seed'] == '3'
    assert terms['wall time'] == '2:03:04 h'
    assert terms['versions'] == 'torch 2.13.0, samat-mm 0.1.0'
    assert terms['pgd-linf'] == (
        f'type = PGD, norm = linf, eps = {1 / 255} (1/255), step_size = {0.25 / 255} (0.25/255), steps = 10, seed = 0'
    )
    assert terms['pixle'] == 'type = Pixle, widths = 2-10'


@pytest.mark.parametrize('name', ['<script>alert(1)</script>', 'a & b', '"quoted" \'name\'', '$x^2$', '</svg>'])
def test_names_do_not_become_markup(name, tmp_path):
    results = {
        'clean': {'mIoU': 50.0},
        **{f'{name}@{eps}': {'mIoU': 9.0, 'attack': {'type': name, 'norm': 'linf', 'eps': eps}} for eps in (0.1, 0.2)},
    }
    report = changed(
        config=f'{name.replace("/", "-")}.py',
        checkpoint=name,
        results=results,
        sanity=[{'check': name, 'verdict': 'pass', 'detail': name}],
        per_class={'metric': name, 'classes': [name], 'values': {'clean': [50.0], f'{name}@0.1': [9.0]}},
        versions={name: name},
    )
    page, text = page_of(report, tmp_path)
    assert not {'script', 'x'} & {tag for tag, _ in page.tags}
    assert page.terms[3] == name
    assert [row[0] for row in page.tables[0][2:]] == ['clean', f'{name}@0.1', f'{name}@0.2']
    assert text.count('<svg') == text.count('</svg>') == 2


def test_the_page_needs_nothing_but_itself(tmp_path):
    page, _ = page_of(REPORT, tmp_path, [picture_of('pixle', 0, tmp_path)])
    assert 'img' in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert tag not in ('link', 'script', 'iframe', 'object')
        for attribute in ('src', 'href', 'xlink:href'):
            value = attributes.get(attribute)
            assert value is None or value.startswith(('data:image/', '#')), (tag, value)
    policies = [values['content'] for _, values in page.tags if 'http-equiv' in values]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_figures_follow_the_colours_of_the_page_and_share_no_names(tmp_path):
    attack = {'norm': 'l2', 'type': 'PGD'}
    results = {
        'clean': {'mIoU': 50.0},
        **{f'pgd@{eps}': {'mIoU': 9.0, 'attack': {**attack, 'eps': eps}} for eps in (0.1, 0.2)},
    }
    per_class = {'metric': 'IoU', 'classes': ['a'], 'values': {'clean': [50.0], 'pgd@0.1': [9.0]}}
    page, text = page_of(changed(results=results, per_class=per_class), tmp_path)
    identifiers = [values['id'] for _, values in page.tags if 'id' in values]
    assert len(identifiers) == len(set(identifiers)) > 20
    references = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert references <= set(identifiers)
    assert '#000000' not in text.split('</style>', 1)[1]
    again, _ = page_of(changed(results=results, per_class=per_class), tmp_path)
    assert again.tags == page.tags


def test_pictures_of_one_image_stand_together_and_at_most_24_are_shown(tmp_path):
    paths = [picture_of(attack, number, tmp_path) for attack in ('sea-linf', 'pgd-linf') for number in range(15)]
    page, text = page_of(REPORT, tmp_path, paths)
    shown = [values['alt'] for tag, values in page.tags if tag == 'img']
    assert shown[:3] == ['000000-x under pgd-linf', '000000-x under sea-linf', '000001-x under pgd-linf']
    assert len(shown) == 24
    assert '24 of 30 pictures' in text


def test_pictures_are_those_of_the_attacks_of_the_report(tmp_path):
    """Each is in one folder, whatever the attack's name; those of others are left out."""
    results = {'clean': {'mIoU': 5.0}, 'pgd@1/255': {'mIoU': 4.0}, 'pgd@11/255': {'mIoU': 3.0}}
    folders = ('pgd@1-255', 'noise', '255', 'xpgd@1-255', 'pgd@11-255')
    page, text = page_of(changed(results=results), tmp_path, [picture_of(name, 0, tmp_path) for name in folders])
    shown = [values['alt'] for tag, values in page.tags if tag == 'img']
    assert shown == ['000000-x under pgd@1/255', '000000-x under pgd@11/255']
    assert '2 of 2 pictures' in text


def test_what_the_exported_files_score_stands_beneath_the_attack(tmp_path):
    report = changed()
    report['results']['pgd-linf']['minimal_norm'] = {'norm': 'linf', 'quartiles': [0, 1 / 255, None], 'found': 0.6}
    report['results']['pgd-linf']['exported'] = {'mIoU': 13.5, 'aAcc': 41.0, 'mAcc': 3.0, 'largest_change': 1.5 / 255}
    page, _ = page_of(report, tmp_path)
    names = [row[0] for row in page.tables[0][2:]]
    assert names == ['clean', 'pgd-linf', 'pgd-linf, 8-bit files', 'sea-linf', 'pixle']
    assert page.tables[0][4] == ['pgd-linf, 8-bit files', '', '', '13.50', '61.10', '41.00', '3.00', '', '', '', '']
    assert 'largest change in the 8-bit files = 1.50/255' in page.all_text()
    assert 'quartiles of the distance to the nearest error = 0/255, 1/255, none' in page.all_text()


def test_a_photograph_is_made_smaller_and_a_drawing_is_left_alone(tmp_path):
    (tmp_path / 'pixle').mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / 'pixle' / 'photograph.png')
    Image.new('RGB', (64, 64), 'white').save(tmp_path / 'pixle' / 'drawing.png')
    page, _ = page_of(REPORT, tmp_path, list(tmp_path.glob('pixle/*.png')))
    kinds = [values['src'].split(';')[0] for tag, values in page.tags if tag == 'img']
    assert kinds == ['data:image/png', 'data:image/jpeg']


def test_a_document_of_an_older_version_or_of_a_detector_is_enough(tmp_path):
    report = {key: REPORT[key] for key in ('config', 'checkpoint', 'seed', 'samples')}
    page, text = page_of(
        {**report, 'results': {'clean': {'coco/bbox_mAP': 0.4}, 'pgd': {'coco/bbox_mAP': 0.1}}}, tmp_path
    )
    assert page.tables[0][2:] == [
        ['clean', '0.40', '', '', '', ''],
        ['pgd', '0.10', '0.30', '', '', ''],
    ]
    assert '<svg' not in text
    assert 'Sanity' not in text


def test_a_report_without_a_metric_is_refused(tmp_path):
    with pytest.raises(ValueError, match='at least one metric on clean images; it has none'):
        write_html(changed(results={'clean': {}}), tmp_path / 'report.html')


def test_a_picture_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_html(REPORT, tmp_path / 'report.html', [tmp_path / 'pixle' / 'nowhere.png'])


def test_a_folded_section_says_where_the_numbers_come_from(tmp_path):
    origin = {
        'command': 'samat-mm test mine.py "my weights.pth"',
        'config': {'sha256': 'c0ffee', 'text': "model = dict(type='<Mine>')\nrho = 0.05\n"},
        'checkpoint': {'sha256': 'beef', 'bytes': 12},
        'data': {'type': 'DigitScenes', 'split': 'val', 'data_prefix': {}, 'samples': 100},
        'code': {'commit': 'abc', 'dirty': True},
    }
    page, text = page_of(changed(provenance=origin), tmp_path)
    assert page.texts['pre'] == origin['config']['text']  # which is escaped, and keeps its lines
    folded = text[text.index('<section id="origin">') :]
    assert folded.index('<details>') < folded.index('<pre>') < folded.index('</details>')
    assert (
        dict(zip(page.terms[::2], page.terms[1::2], strict=True)).items()
        >= {
            'command': origin['command'],
            'config, SHA-256': 'c0ffee',
            'checkpoint, SHA-256': 'beef',
            'checkpoint, bytes': '12',
            'data set': 'type DigitScenes, split val, samples 100',
            'commit of samat-mm': 'abc and changes',
        }.items()
    )
    assert 'id="origin"' not in page_of(REPORT, tmp_path)[1]  # reports of older versions have nothing of it
