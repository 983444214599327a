"""The algebra of SAM-COBOT by hand-computed values: quaternions, mode-3 product, T-product (checks B3 to B6)."""

import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.adapters.cobot import CobotOptions, HyperComplex, Relation, Slot


def quaternion(*values: float) -> torch.Tensor:
    """The matrix that multiplies by this quaternion from the left."""
    layer = HyperComplex(4)
    with torch.no_grad():
        layer.blocks.copy_(torch.tensor(values).reshape(4, 1, 1))
    return layer.matrix().detach()


def test_b3_hamilton_product() -> None:
    q, u = (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)
    assert (quaternion(*q) @ torch.tensor(u)).tolist() == [-60, 12, 30, 24]
    assert (quaternion(*u) @ torch.tensor(q)).tolist() == [-60, 20, 14, 32]
    w = quaternion(*q)
    assert w.tolist() == [[1, -2, -3, -4], [2, 1, -4, 3], [3, 4, 1, -2], [4, -3, 2, 1]]
    assert torch.equal(w @ w.T, 30 * torch.eye(4))
    assert torch.equal(quaternion(1, 0, 0, 0), torch.eye(4))
    a, b = (0.5, -1.0, 2.0, 0.25), (1.0, 0.5, -0.5, 2.0)
    assert torch.equal(quaternion(*a) @ quaternion(*b), quaternion(1.5, 3.375, 3.875, 0.75))
    one, i, j, k = (quaternion(*row) for row in torch.eye(4).tolist())
    assert torch.equal(i @ j, k)
    assert torch.equal(j @ i, -k)
    assert all(torch.equal(x, -one) for x in (i @ i, j @ j, k @ k, i @ j @ k))


def test_b4_four_blocks_in_sixteen_places() -> None:
    torch.manual_seed(0)
    layer = HyperComplex(16, "official")
    assert sum(p.numel() for p in layer.parameters()) == 64
    grid = layer.matrix().unflatten(0, (4, 4)).unflatten(2, (4, 4)).transpose(1, 2)  # (row, column, 4, 4)
    assert torch.equal(grid[:, 0], layer.blocks)
    for row in range(4):
        for column in range(4):
            block = grid[row, column]
            assert sum(torch.equal(block.abs(), own.abs()) for own in layer.blocks) == 1
    torch.set_default_dtype(torch.float64)
    try:
        w = HyperComplex(16, "unit").matrix()
        torch.testing.assert_close(w @ w.T, torch.eye(16), rtol=0, atol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(HyperComplex(16).matrix(), torch.eye(16))
    with pytest.raises(SamAdaptError, match="multiple of 4, not 18"):
        HyperComplex(18)


C = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
P = torch.tensor([[1.0, 0.5, 0], [0, 1, -1], [0.25, 0, 1]])


def test_b5_the_mode_3_product() -> None:
    relation = Relation(2, 3, CobotOptions())
    slots = [Slot(relation, slot, slice(0, 2), CobotOptions()) for slot in range(3)]
    gammas = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    with torch.no_grad():
        relation.coefficients.copy_(C)
        relation.matrix.copy_(P)
        for slot, gamma in zip(slots, gammas, strict=True):
            slot.gamma.copy_(torch.tensor(gamma))
    columns = torch.stack([relation.column(slot, slice(0, 2)) for slot in range(3)], 1)
    assert columns.tolist() == [[1.75, 2.5, 1], [5.5, 7, 1]]
    expected = torch.tensor([[1.85, 5.7], [2.8, 7.4], [1.5, 1.6]])
    torch.testing.assert_close(torch.stack([slot.factor() for slot in slots]), expected)
    tensor = torch.diag_embed(C.T)  # (T, V, V), the slots' diagonal matrices
    mode_3 = torch.einsum("st,tij->sij", P.T, tensor)
    assert torch.equal(mode_3, torch.diag_embed(columns.T))


def unfold(tensor: torch.Tensor) -> torch.Tensor:
    """(n3, n1, n2) slices below one another: (n3 n1, n2)."""
    return tensor.flatten(0, 1)


def block_circulant(tensor: torch.Tensor) -> torch.Tensor:
    n = len(tensor)
    return torch.cat([torch.cat([tensor[(row - column) % n] for column in range(n)], 1) for row in range(n)])


def t_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Kilmer's product of third-order tensors, whose slices come first."""
    return (block_circulant(a) @ unfold(b)).unflatten(0, (len(a), a.shape[1]))


def mode_3(tensor: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return torch.einsum("st,tij->sij", matrix, tensor)


def s_product(a: torch.Tensor, b: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Transform along the slices, multiply slice by slice, transform back."""
    return mode_3(mode_3(a, s) @ mode_3(b, s), torch.linalg.inv(s))


def test_b6_the_t_product_that_motivates_the_relation_matrix() -> None:
    a = torch.arange(1, 13, dtype=torch.float64).reshape(3, 2, 2)
    b = torch.arange(-5, 7, dtype=torch.float64).reshape(3, 2, 2)
    expected = [[[35, 68], [35, 80]], [[35, 68], [35, 80]], [[-61, -28], [-61, -16]]]
    assert t_product(a, b).tolist() == expected
    by_fft = torch.fft.ifft(torch.fft.fft(a, dim=0) @ torch.fft.fft(b, dim=0), dim=0).real
    torch.testing.assert_close(by_fft, t_product(a, b), rtol=0, atol=1e-12)
    assert torch.equal(unfold(a).unflatten(0, (3, 2)), a)
    fourier = torch.fft.fft(torch.eye(3, dtype=torch.complex128), dim=0)
    identity = torch.eye(2, dtype=torch.complex128)
    wide = a[:, :1].to(torch.complex128)  # 1 x 2 slices: the two identities differ in size
    left = torch.kron(fourier, torch.eye(1, dtype=torch.complex128))
    diagonal = left @ block_circulant(wide) @ torch.kron(torch.linalg.inv(fourier).contiguous(), identity)
    torch.testing.assert_close(diagonal, torch.block_diag(*torch.fft.fft(wide, dim=0)), rtol=0, atol=1e-12)
    as_complex = a.to(torch.complex128), b.to(torch.complex128)
    torch.testing.assert_close(s_product(*as_complex, fourier).real, t_product(a, b), rtol=0, atol=1e-12)
    torch.testing.assert_close(s_product(a, b, torch.eye(3, dtype=torch.float64)), a @ b)
    torch.manual_seed(0)
    s = torch.randn(3, 3, dtype=torch.float64)
    c = torch.randn(3, 2, 2, dtype=torch.float64)
    left_first, right_first = s_product(s_product(a, b, s), c, s), s_product(a, s_product(b, c, s), s)
    torch.testing.assert_close(left_first, right_first)
