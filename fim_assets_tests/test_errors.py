import copy

from fim_assets.errors import ShardError, UserError


def test_a_users_error_says_where_what_and_what_to_do() -> None:
    assert str(UserError("is gone")) == "is gone"
    assert str(UserError("is gone", "bring it back")) == "is gone; bring it back"
    error = ShardError("line 3 is blank", "name another", "a.jsonl")
    assert error.message == "a.jsonl: line 3 is blank"
    error.location = "s3://bucket/a.jsonl"
    assert str(error) == "s3://bucket/a.jsonl: line 3 is blank; name another"


def test_an_error_of_another_process_is_the_same() -> None:
    error = ShardError("line 3 is blank", "name another", "a.jsonl")
    sent = copy.copy(error)  # by the protocol of pickle
    assert (str(sent), vars(sent)) == (str(error), vars(error))
