"""Graded checks of lab 1.2: TF-IDF search. Corpora are made-up words, drawn anew for every seed."""

from __future__ import annotations

import numpy as np

from labkit.grading import WeakDraw, todo, whole_lab

# ---------------------------------------------------------------- made-up inputs


def words(rng, n: int) -> list[str]:
    """n different pronounceable words."""
    found: set[str] = set()
    while len(found) < n:
        found.add("".join(rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou")) for _ in range(3)))
    return [str(word) for word in rng.permutation(sorted(found))]


def token_lists(rng, vocabulary: list[str], n_docs: int = 12) -> list[list[str]]:
    """Documents of different lengths with repeated words; the first, one in the middle and the last are empty."""
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    lists = [
        [str(word) for word in rng.choice(vocabulary, size=rng.integers(3, 25), p=weights / weights.sum())]
        for _ in range(n_docs)
    ]
    lists[0] = lists[n_docs // 2] = lists[-1] = []
    return lists


def to_csr(dense) -> tuple:
    """A dense matrix as (indptr, indices, data, shape), entry by entry."""
    indptr, indices, data = [0], [], []
    for row in dense:
        for column in np.flatnonzero(row):
            indices.append(int(column))
            data.append(float(row[column]))
        indptr.append(len(indices))
    arrays = np.array(indptr, dtype=np.int64), np.array(indices, dtype=np.int64), np.array(data, dtype=np.float64)
    return (*arrays, tuple(int(n) for n in np.shape(dense)))


def fields(matrix) -> dict:
    """The arrays and the shape of a CSR that came back from the learner's code, by name."""
    return dict(matrix.fields)


def random_counts(rng, n_docs: int = 14, n_terms: int = 23) -> tuple:
    """Counts with empty rows and columns at both ends and in the middle; about a third of the rest is filled."""
    dense = rng.integers(1, 9, size=(n_docs, n_terms)) * (rng.random((n_docs, n_terms)) < 0.35)
    dense[[0, n_docs // 2, -1]] = 0
    dense[:, [0, n_terms // 2, -1, -2]] = 0
    return to_csr(dense)


def random_weights(rng, n_rows: int = 14, n_columns: int = 23) -> tuple:
    """The same pattern with values of both signs."""
    indptr, indices, data, shape = random_counts(rng, n_rows, n_columns)
    return indptr, indices, rng.normal(size=data.shape) + 0.1, shape


def one_row(rng, columns, n_terms: int) -> tuple:
    """A query: one row with random positive weights in the given columns."""
    dense = np.zeros((1, n_terms))
    dense[0, columns] = rng.uniform(0.5, 3, size=len(columns))
    return to_csr(dense)


# ---------------------------------------------------------------- term-frequency


@todo("term-frequency")
def test_sublinear_tf_is_one_plus_log(grade, rng):
    """Sublinear term frequency is 1 + ln(count): a word that occurs once weighs 1."""
    grade("tf", random_counts(rng), True)


@todo("term-frequency")
def test_raw_tf_is_the_count(grade, rng):
    """Without sublinear the term frequencies are the counts, at the same positions."""
    grade("tf", random_counts(rng), False)


@todo("term-frequency")
def test_tf_of_large_counts(grade, rng):
    """A word that occurs thousands of times weighs only a few times more than one that occurs once."""
    indptr, indices, data, shape = random_counts(rng)
    grade("tf", (indptr, indices, np.floor(10 ** rng.uniform(0, 5, data.shape)), shape), True)


# ---------------------------------------------------------------- inverse-document-frequency


@todo("inverse-document-frequency")
def test_idf_agrees_with_reference(grade, rng):
    """idf follows the formula on random counts, one value per column."""
    grade("idf", random_counts(rng, n_docs=int(rng.integers(9, 18)), n_terms=int(rng.integers(20, 30))))


@todo("inverse-document-frequency")
def test_idf_counts_documents_not_occurrences(grade, rng):
    """Saying a word ten times in one document does not make it a common word."""
    indptr, indices, data, shape = random_counts(rng)
    louder = data * rng.integers(2, 12, size=data.shape)
    quiet = grade.call("idf", (indptr, indices, data, shape))
    loud = grade("idf", (indptr, indices, louder, shape))
    assert np.allclose(quiet, loud), "idf changed when words were repeated inside the documents that hold them already"


@todo("inverse-document-frequency", edge=True)
def test_idf_of_words_in_all_documents_and_in_none(grade, rng):
    """A word in every document has idf 1, a word in none has the largest idf, and neither is infinite."""
    n_docs = int(rng.integers(3, 9))
    dense = np.zeros((n_docs, 4))
    dense[:, 1] = rng.integers(1, 5, size=n_docs)
    dense[0, 2] = 3.0
    grade("idf", to_csr(dense))


# ---------------------------------------------------------------- normalize-rows


@todo("normalize-rows")
def test_rows_agree_with_reference(grade, rng):
    """Every entry is divided by the Euclidean length of its own row."""
    grade("unit_rows", random_weights(rng))


@todo("normalize-rows")
def test_rows_have_length_one(grade, rng):
    """Every row with entries has Euclidean length 1; rows without entries stay empty."""
    matrix = random_weights(rng, n_rows=int(rng.integers(6, 12)))
    lengths = np.linalg.norm(grade("unit_rows_dense", matrix), axis=1)
    empty = np.diff(matrix[0]) == 0
    assert np.allclose(lengths[~empty], 1), f"row lengths run from {lengths[~empty].min():.4g} to {lengths.max():.4g}"


@todo("normalize-rows")
def test_a_single_query_row(grade, rng):
    """A query is a matrix of one row: scaling it by any factor changes nothing."""
    query = one_row(rng, rng.choice(15, size=6, replace=False), 15)
    factor = float(rng.uniform(3, 1000))
    once = grade("unit_rows", query)
    scaled = grade("unit_rows", (query[0], query[1], query[2] * factor, query[3]))
    same = np.allclose(fields(once)["data"], fields(scaled)["data"])
    assert same, f"the row differs after all of it was multiplied by {factor:.4g}"


@todo("normalize-rows", edge=True)
def test_a_matrix_without_entries(grade, rng):
    """Rows without entries are left alone: no division by zero, nothing added."""
    grade("unit_rows", to_csr(np.zeros((3, 5))))


# ---------------------------------------------------------------- count-matrix


@todo("count-matrix")
def test_counts_agree_with_reference(grade, rng):
    """Row i, column j holds how often token j occurs in document i; repeated tokens share one entry."""
    vocabulary = words(rng, 20)
    ids = {word: i for i, word in enumerate(sorted(vocabulary))}
    grade("count", token_lists(rng, vocabulary), ids)


@todo("count-matrix")
def test_unknown_tokens_are_skipped(grade, rng):
    """A token outside the vocabulary, as a query may hold, is left out and moves nothing else."""
    vocabulary = words(rng, 24)
    ids = {word: i for i, word in enumerate(sorted(vocabulary[:10]))}
    grade("count", token_lists(rng, vocabulary), ids)


@todo("count-matrix")
def test_columns_follow_the_vocabulary(grade, rng):
    """Columns ascend by token id, in a vocabulary in any order, and V counts the tokens that never occur too."""
    vocabulary = words(rng, 18)
    ids = {word: int(i) for word, i in zip(vocabulary, rng.permutation(18), strict=True)}
    used = [word for word in vocabulary if ids[word] < 13]
    grade("count", token_lists(rng, used), ids)


@todo("count-matrix", edge=True)
def test_documents_without_tokens(grade, rng):
    """No documents, or documents without any known token, give a matrix without entries."""
    ids = {word: i for i, word in enumerate(words(rng, 4))}
    grade("count", [], ids)
    grade("count", [[], [], []], ids)
    grade("count", [["qqq", "www"], [], ["qqq"]], ids)


# ---------------------------------------------------------------- transpose


@todo("transpose")
def test_transpose_agrees_with_reference(grade, rng):
    """Row t of the result lists the documents that hold term t, ascending, with their weights."""
    grade("turned", random_weights(rng))


@todo("transpose")
def test_long_postings_lists_ascend(grade, rng):
    """In a postings list of hundreds of documents the document numbers still ascend."""
    grade("turned", random_weights(rng, n_rows=700, n_columns=12))


@todo("transpose")
def test_transposing_twice_changes_nothing(grade, rng):
    """The transpose of the transpose is the matrix itself."""
    matrix = random_weights(rng)
    back = fields(grade("turned_twice", matrix))
    parts = zip(("indptr", "indices", "data"), matrix[:3], strict=True)
    same = all(np.array_equal(back[name], part) for name, part in parts)
    assert same, "after transposing twice some of the three arrays differ from the original"


@todo("transpose", edge=True)
def test_transpose_without_entries(grade, rng):
    """A matrix without entries turns into one with as many empty rows as it had columns."""
    grade("turned", to_csr(np.zeros((2, 5))))


# ---------------------------------------------------------------- score


@todo("score")
def test_scores_are_dot_products(grade, rng):
    """Each document's score is the sum over the query's terms of query weight times document weight."""
    postings = random_weights(rng, n_rows=21, n_columns=30)  # 21 terms, 30 documents
    grade("scored", postings, one_row(rng, rng.choice(21, size=7, replace=False), 21))


@todo("score")
def test_documents_with_several_query_words(grade, rng):
    """A document that holds several of the query's words collects a share from each."""
    n_terms, n_docs = int(rng.integers(5, 9)), int(rng.integers(10, 20))
    dense = rng.uniform(0.1, 2, size=(n_terms, n_docs)) * (rng.random((n_terms, n_docs)) < 0.85)
    grade("scored", to_csr(dense), one_row(rng, np.arange(1, n_terms), n_terms))


@todo("score")
def test_only_the_querys_postings_are_read(grade, rng):
    """Postings of words that are not in the query are never read: here they are traps."""
    n_terms, n_docs = 12, 16
    dense = rng.uniform(0.1, 2, size=(n_terms, n_docs)) * (rng.random((n_terms, n_docs)) < 0.6)
    asked = np.sort(rng.choice(n_terms, size=4, replace=False))
    others = np.setdiff1d(np.arange(n_terms), asked)
    dense[others] = np.where(dense[others] > 0, np.nan, 0)
    if not dense[asked].any():
        raise WeakDraw
    grade("scored_among_traps", to_csr(dense), one_row(rng, asked, n_terms))


@todo("score", edge=True)
def test_query_without_known_words(grade, rng):
    """A query without entries scores 0 in every document."""
    grade("scored", random_weights(rng, n_rows=6, n_columns=9), to_csr(np.zeros((1, 6))))


@todo("score", edge=True)
def test_query_of_another_vocabulary(grade, rng):
    """Postings and query over vocabularies of different size raise ValueError, whichever is larger."""
    postings = random_weights(rng, n_rows=10, n_columns=8)
    grade("scored", postings, one_row(rng, [1, 2], 11), raises=ValueError)
    grade("scored", postings, one_row(rng, [1, 2], 9), raises=ValueError)


# ---------------------------------------------------------------- top-k


@todo("top-k")
def test_best_documents_first(grade, rng):
    """The k best scores, best first."""
    grade("best", rng.uniform(0.01, 1, size=3_000), int(rng.integers(400, 600)))  # too many to be in order by luck
    scores = rng.uniform(0.01, 1, size=60) * (rng.random(60) < 0.8)
    grade("best", scores, int(rng.integers(3, 12)))


@todo("top-k")
def test_ties_go_to_the_lower_document_number(grade, rng):
    """Of equal scores the lower document number wins, also where the list is cut off."""
    scores = rng.integers(1, 4, size=300) / 4
    grade("best", scores, int(rng.integers(20, 60)))
    grade("best", scores, int((scores == 0.75).sum()) + int(rng.integers(5, 30)))


@todo("top-k")
def test_only_found_documents_are_returned(grade, rng):
    """Documents that score 0 or less were not found: the list is then shorter than k."""
    scores = rng.normal(size=40).round(1) * (rng.random(40) < 0.5)
    k = int((scores > 0).sum()) + int(rng.integers(1, 10))
    grade("best", scores, k)
    grade("best", scores, 1000)


@todo("top-k")
def test_not_everything_is_sorted(grade, rng):
    """Ten documents out of 20,000, some with equal scores, are found without sorting 20,000 scores."""
    scores = rng.integers(1, 4097, size=20_000) / 4096  # about five documents to a score: the order of ties shows
    grade("best_without_sorting_everything", scores, 10)


@todo("top-k", edge=True)
def test_nothing_found(grade, rng):
    """When no score is above 0 the result is an empty array of whole numbers."""
    grade("best", np.zeros(int(rng.integers(3, 9))), 5)
    grade("best", np.zeros(0), 5)


@todo("top-k", edge=True)
def test_k_below_one(grade, rng):
    """k < 1 raises ValueError."""
    scores = rng.uniform(0.1, 1, size=10)
    grade("best", scores, 0, raises=ValueError)
    grade("best", scores, -3, raises=ValueError)


# ---------------------------------------------------------------- bm25


@todo("bm25", points=2)
def test_bm25_with_its_defaults(grade, rng):
    """Lucene's BM25 with k1 = 1.2 and b = 0.75 on random counts."""
    grade("bm25_default", random_counts(rng))


@todo("bm25")
def test_bm25_with_other_parameters(grade, rng):
    """k1 and b are used as the formula says."""
    grade("bm25_weights", random_counts(rng), float(rng.uniform(0.3, 3)), float(rng.uniform(0.1, 0.9)))


@todo("bm25")
def test_bm25_without_length_normalisation(grade, rng):
    """With b = 0 the length of a document does not matter; with b = 1 it matters fully."""
    counts = random_counts(rng)
    grade("bm25_weights", counts, 1.5, 0.0)
    grade("bm25_weights", counts, 1.5, 1.0)


@todo("bm25")
def test_bm25_common_words_stay_positive(grade, rng):
    """A word that most or all documents hold still adds a little, never less than nothing."""
    dense = rng.integers(1, 6, size=(9, 5)).astype(float)
    dense[rng.integers(0, 9), 0] = 0
    weights = fields(grade("bm25_weights", to_csr(dense), 1.2, 0.75))["data"]
    assert (weights > 0).all(), f"the smallest weight is {weights.min():.4g}"


@todo("bm25", edge=True)
def test_bm25_k1_zero(grade, rng):
    """With k1 = 0 every word that occurs is worth its idf, however often it occurs."""
    grade("bm25_weights", random_counts(rng), 0.0, 0.5)


@todo("bm25", edge=True)
def test_bm25_bad_parameters(grade, rng):
    """A negative k1, and a b outside 0 to 1, raise ValueError."""
    counts = random_counts(rng)
    for k1, b in ((-0.1, 0.75), (1.2, -0.01), (1.2, 1.01)):
        grade("bm25_weights", counts, k1, b, raises=ValueError)


# ---------------------------------------------------------------- the whole lab


def texts_and_queries(rng) -> tuple[list[str], list[str]]:
    """Texts of different lengths, so that no two score alike; queries with repeated and with unknown words."""
    vocabulary = words(rng, 60)
    texts = [" ".join(rng.choice(vocabulary, size=size)) for size in rng.permutation(np.arange(20, 60))]
    queries = [" ".join(rng.choice(vocabulary, size=rng.integers(2, 7))) for _ in range(5)]
    return texts, [*queries, f"{queries[0]} {queries[0]} unknownword", f"{queries[1].upper()}!"]


@whole_lab(points=2)
def test_tfidf_search(grade, rng):
    """From texts to a ranked list by TF-IDF."""
    texts, queries = texts_and_queries(rng)
    grade("search_texts", texts, queries, ("tfidf", True), 8)
    grade("search_texts", texts, queries, ("tfidf", False), 8)


@whole_lab()
def test_bm25_search(grade, rng):
    """From texts to a ranked list by BM25."""
    texts, queries = texts_and_queries(rng)
    grade("search_texts", texts, queries, ("bm25", False), 8)


@whole_lab(edge=True)
def test_queries_that_find_nothing(grade, rng):
    """An empty query and a query of unknown words find nothing, without an error."""
    texts, _ = texts_and_queries(rng)
    grade("search_texts", texts, ["", "unknownword", "a ? !"], ("tfidf", True), 8)
    grade("search_texts", texts, ["", "unknownword", "a ? !"], ("bm25", False), 8)
