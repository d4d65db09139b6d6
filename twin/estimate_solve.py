"""Sparse symmetric solves for the estimator: a root-free Cholesky factor, and the diagonal of the inverse from it.

SciPy factorises, but gives no variances; the recurrence of Takahashi needs only the factor's own pattern, so that exact
variances of 30,000 links cost about as much as the factor itself.

Notes
-----
Sources: Davis (2005), Algorithm 849: a concise sparse Cholesky factorization package, doi:10.1145/1114268.1114277;
Erisman and Tinney (1975), On computing certain elements of the inverse of a sparse matrix, doi:10.1145/360680.360704.
"""

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import cg, splu

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int32]


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _tree(start: Int, row: Int) -> tuple[Int, Int]:
    """Return the elimination tree and the number of entries below the diagonal of each column of the factor."""
    n = len(start) - 1
    parent = np.full(n, -1, np.int32)
    flag = np.full(n, -1, np.int32)
    count = np.zeros(n, np.int32)
    for k in range(n):
        flag[k] = k
        for p in range(start[k], start[k + 1]):
            i = row[p]
            while flag[i] != k:
                if parent[i] == -1:
                    parent[i] = k
                count[i] += 1
                flag[i] = k
                i = parent[i]
    return parent, count


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _factor(
    start: Int, row: Int, value: Float, diagonal: Float, parent: Int, l_start: Int, l_row: Int, l_value: Float
) -> Float:
    """Fill the unit lower factor L (columns, rows ascending) and return D of A = L D L'."""
    n = len(start) - 1
    d = np.empty(n)
    y = np.zeros(n)
    pattern = np.empty(n, np.int32)
    flag = np.full(n, -1, np.int32)
    filled = np.zeros(n, np.int32)
    for k in range(n):
        top = n
        flag[k] = k
        for p in range(start[k], start[k + 1]):
            i = row[p]
            y[i] += value[p]
            length = 0
            while flag[i] != k:
                pattern[length] = i
                length += 1
                flag[i] = k
                i = parent[i]
            while length > 0:
                top -= 1
                length -= 1
                pattern[top] = pattern[length]
        d[k] = diagonal[k]
        for t in range(top, n):
            i = pattern[t]
            y_i = y[i]
            y[i] = 0.0
            end = l_start[i] + filled[i]
            for p in range(l_start[i], end):
                y[l_row[p]] -= l_value[p] * y_i
            entry = y_i / d[i]
            d[k] -= entry * y_i
            l_row[end] = k
            l_value[end] = entry
            filled[i] += 1
    return d


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _solve(l_start: Int, l_row: Int, l_value: Float, d: Float, x: Float) -> None:
    """Overwrite x with the solution of L D L' x = x."""
    n = len(d)
    for j in range(n):
        for p in range(l_start[j], l_start[j + 1]):
            x[l_row[p]] -= l_value[p] * x[j]
    for j in range(n - 1, -1, -1):
        total = x[j] / d[j]
        for p in range(l_start[j], l_start[j + 1]):
            total -= l_value[p] * x[l_row[p]]
        x[j] = total


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _inverse_diagonal(l_start: Int, l_row: Int, l_value: Float, d: Float) -> Float:
    """Return the diagonal of the inverse of L D L', from the last column to the first."""
    n = len(d)
    z = np.zeros(len(l_row))  # the inverse on the pattern of L
    z_diagonal = np.empty(n)
    place = np.full(n, -1, np.int64)
    for j in range(n - 1, -1, -1):
        first, last = l_start[j], l_start[j + 1]
        for p in range(first, last):
            place[l_row[p]] = p
        for p in range(first, last):
            i = l_row[p]
            entry = l_value[p]
            z[p] -= entry * z_diagonal[i]
            for q in range(l_start[i], l_start[i + 1]):
                r = place[l_row[q]]
                if r >= 0:
                    z[p] -= l_value[r] * z[q]
                    z[r] -= entry * z[q]
        total = 1.0 / d[j]
        for p in range(first, last):
            total -= l_value[p] * z[p]
            place[l_row[p]] = -1
        z_diagonal[j] = total
    return z_diagonal


class Factor:
    """A factorised precision matrix: solves and variances; made by `Precision.factor`."""

    def __init__(self, old_of_new: npt.NDArray[np.int64], l_start: Int, l_row: Int, l_value: Float, d: Float) -> None:
        self._old_of_new = old_of_new
        self._l = l_start, l_row, l_value, d

    def solve(self, right: Float) -> Float:
        """Return the inverse times a vector, (n,)."""
        x = right[self._old_of_new].astype(np.float64)
        _solve(*self._l, x)
        result = np.empty_like(x)
        result[self._old_of_new] = x
        return result

    def inverse_diagonal(self) -> Float:
        """Return the diagonal of the inverse, (n,)."""
        variance = np.empty(len(self._old_of_new))
        variance[self._old_of_new] = _inverse_diagonal(*self._l)
        return variance


class Precision:
    """A sparse precision matrix whose pattern is fixed and to whose diagonal measurements are added.

    Parameters
    ----------
    matrix : (n, n) symmetric, positive definite
    n_dense
        The last so many variables are coupled to nearly all others; they are eliminated last, without fill.
    """

    def __init__(self, matrix: sp.csc_array, *, n_dense: int = 0) -> None:
        n = matrix.shape[0]
        self.matrix = sp.csr_array(matrix)
        body = sp.csc_matrix(matrix[: n - n_dense, : n - n_dense])
        # Only the order is wanted: SuperLU's minimum degree on a symmetric pattern, without pivoting.
        options = {"SymmetricMode": True}
        order = splu(body, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).perm_c
        position = np.concatenate((np.asarray(order, np.int64), np.arange(n - n_dense, n)))
        self._old_of_new = np.argsort(position)
        permuted = sp.csc_array(matrix[self._old_of_new][:, self._old_of_new])
        upper = sp.csc_array(sp.triu(permuted, k=1, format="csc"))
        self._start = upper.indptr.astype(np.int32)
        self._row = upper.indices.astype(np.int32)
        self._value = upper.data.astype(np.float64)
        self._diagonal = np.asarray(permuted.diagonal(), np.float64)
        self._parent, count = _tree(self._start, self._row)
        self.work = float(np.sum(count.astype(np.float64) ** 2))  # multiplications of a factorisation
        self._l_start = np.concatenate((np.zeros(1), np.cumsum(count))).astype(np.int32)

    def factor(self, added: Float) -> "Factor":
        """Return the factor with ``added``, (n,), on the diagonal."""
        l_row = np.empty(self._l_start[-1], np.int32)
        l_value = np.empty(self._l_start[-1])
        diagonal = self._diagonal + added[self._old_of_new]
        pattern = self._start, self._row, self._value, diagonal, self._parent, self._l_start
        return Factor(self._old_of_new, self._l_start, l_row, l_value, _factor(*pattern, l_row, l_value))

    def posterior(self, added: Float, information: Float) -> tuple[Float, Float]:
        """Return mean and variance with ``added`` on the diagonal and ``information`` = precision x mean.

        Parameters
        ----------
        added, information : (n,)

        Returns
        -------
        mean, variance : (n,)
        """
        factor = self.factor(added)
        return factor.solve(information), factor.inverse_diagonal()

    def mean(self, added: Float, information: Float, *, start: Float) -> Float:
        """Return the mean alone, by conjugate gradients from a start near it, to a hundred-thousandth.

        Parameters
        ----------
        added, information, start : (n,)
        """
        diagonal = self.matrix.diagonal() + added
        matrix = sp.csr_array(self.matrix + sp.diags_array(added))
        solution, failed = cg(matrix, information, x0=start, rtol=1e-5, M=sp.diags_array(1 / diagonal))
        if failed:  # not seen: the matrix is positive definite
            return self.posterior(added, information)[0]
        return np.asarray(solution, np.float64)
