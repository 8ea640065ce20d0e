"""What becomes of an error on the way from a process of a data loader."""

import pickle
import traceback

import pytest
from torch._utils import ExceptionWrapper

from samat_mm import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UserError)]


def raised(kind, sentence, after=None):
    try:
        raise kind(sentence) from after
    except kind as error:
        return error


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('after', [None, ValueError('first'), errors.InputError('of another file')])
def test_the_sentence_is_all_that_a_worker_hands_on(kind, after):
    sentence = 'labels a.png hold [77]: more\nthan one line.'
    error = raised(kind, sentence, after)
    handed_on = pickle.loads(pickle.dumps(ExceptionWrapper((kind, error, error.__traceback__), 'in a worker')))
    with pytest.raises(kind) as caught:
        handed_on.reraise()
    assert type(caught.value) is kind and str(caught.value) == sentence
    trace = ''.join(traceback.format_exception(caught.value))
    assert 'Caught' in trace and 'raise kind(sentence) from after' in trace


@pytest.mark.parametrize('kind', KINDS)
def test_an_error_survives_pickling(kind):
    error = pickle.loads(pickle.dumps(kind('a sentence.')))
    assert type(error) is kind and str(error) == 'a sentence.'
