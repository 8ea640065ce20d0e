"""Sentences under attack: which words are marked, and which sentences a page shows."""

import re

from hypothesis import given
from hypothesis import strategies as st

from samat_mm.visualization.html_report import write_html
from samat_mm.visualization.marked_words import fooled, marked, shown_sentences

WORDS = st.lists(st.sampled_from(['a', 'fine', 'film', '.', 'okay', 'dull']), max_size=8)


def entry(number, text, wrong=False, **attacked):
    return {
        'number': number,
        'text': text,
        'wrong': wrong,
        'attacked': {name: {'text': changed, 'wrong': errs} for name, (changed, errs) in attacked.items()},
    }


DOCUMENT = {
    'config': 'configs/film.py',
    'checkpoint': 'epoch_3.pth',
    'seed': 0,
    'samples': 4,
    'results': {
        'clean': {'accuracy/top1': 75.0},
        'pso': {'accuracy/top1': 25.0, 'success_rate': 66.7, 'attack': {'type': 'PSO'}, 'forwards': 9.0},
        'iga': {'accuracy/top1': 50.0, 'success_rate': 33.3, 'attack': {'type': 'IGA'}, 'forwards': 7.0},
    },
    'evaluation': {'unit': 'sentence'},
    'sentences': [
        entry(3, 'a fine film .', pso=('a okay film .', True), iga=('a fine <b>film</b> .', True)),
        entry(8, 'dull .', pso=('dim .', True), iga=('dull .', False)),
        entry(9, 'never', pso=('never', False), iga=('never', False)),
        entry(11, 'wrong anyway', wrong=True, pso=('wrong anyway', True), iga=('wrong anyway', True)),
    ],
}


@given(WORDS, WORDS)
def test_the_parts_make_up_the_changed_sentence_and_unmarked_words_are_the_original_ones(before, after):
    parts = marked(' '.join(before), ' '.join(after))
    assert ' '.join(words for words, _ in parts) == ' '.join(after)
    kept = [word for words, changed in parts if not changed for word in words.split()]
    rest = iter(before)
    assert all(word in rest for word in kept)  # in their order
    assert any(changed for _, changed in parts) or set(after) <= set(before)


def test_equal_sentences_have_no_marks():
    assert marked('a fine film .', 'a fine film .') == [('a fine film .', False)]


def test_only_sentences_that_an_attack_turned_into_errors_are_shown():
    assert fooled(DOCUMENT) == 2
    first, second = shown_sentences(DOCUMENT, most=5)
    assert (first['number'], second['number']) == (3, 8)
    assert [name for name, _ in second['attacked']] == ['pso']
    assert len(shown_sentences(DOCUMENT, most=1)) == 1


def test_the_page_marks_the_words_and_names_sentences(tmp_path):
    write_html(DOCUMENT, tmp_path / 'page.html')
    page = (tmp_path / 'page.html').read_text(encoding='utf-8')
    assert '<mark>okay</mark>' in page
    assert '<mark>&lt;b&gt;film&lt;/b&gt;</mark>' in page and '<b>film' not in page
    assert 'accuracy/top1 75.00 on 4 clean sentences, 25.00 under pso' in page
    text = re.sub(r'\s+', ' ', page)
    assert '2 of 2 sentences that an attack turned into errors' in text
    assert 'images' not in page.partition('</style>')[2].replace('images under attack', '')
    assert 'success rate' in page
    assert '>radius<' not in page and '>steps<' not in page  # which no attack on words has
