"""Os passos: cada um cabe num projetor, conserta o que diz consertar, e a página fala deles como são."""

import ast
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "passos"))

import pagina  # noqa: E402
import sintoma  # noqa: E402

TEXTO = pagina.PAGINA.read_text(encoding="utf-8")
SINTOMAS = re.findall(r"conferir\.py --so (\S+) --comando .*passo(\d)\.py", TEXTO)
"""As regras que a página manda conferir, e em que passo: o anterior àquele que o conserta."""


def test_a_pagina_esta_em_dia():
    """Os diffs da página são os dos arquivos, e há um bloco gerado para cada passo."""
    assert pagina.com_os_diffs(TEXTO) == TEXTO
    blocos = [f"{nome} {passo}" for nome, passo in re.findall(r"<!-- (diff|regras|tabela) (\d) -->", TEXTO)]
    esperados = {"tabela 0", *(f"diff {passo}" for passo in pagina.PASSOS[1:]), *(f"regras {p}" for p in pagina.PASSOS)}
    assert len(blocos) == len(esperados) == 16 and set(blocos) == esperados


@pytest.mark.parametrize("passo", pagina.PASSOS)
def test_um_passo_cabe_no_projetor(passo):
    """Um passo tem no máximo 130 linhas, e só importa a biblioteca padrão."""
    programa = (pagina.PASTA / f"passo{passo}.py").read_text(encoding="utf-8")
    assert len(programa.splitlines()) <= 130
    importados = {nome.name for no in ast.parse(programa).body if isinstance(no, ast.Import) for nome in no.names}
    assert importados <= sys.stdlib_module_names and not re.search(r"^from ", programa, re.MULTILINE)


@pytest.fixture(scope="module")
def conferidos():
    """As regras dos sintomas, conferidas no passo que tem o defeito e no que o conserta."""
    pedidos = [(int(passo) + depois, regras, 1.0) for regras, passo in SINTOMAS for depois in (0, 1)]
    with ThreadPoolExecutor(4) as todos:
        return dict(zip(pedidos, todos.map(lambda pedido: pagina.conferir(*pedido), pedidos), strict=True))


@pytest.mark.parametrize(("regras", "passo"), SINTOMAS, ids=[f"passo{int(passo) + 1}" for _, passo in SINTOMAS])
def test_o_sintoma_e_o_conserto(conferidos, regras, passo):
    """As regras que a página manda conferir falham todas no passo anterior, e valem todas no seguinte."""
    antes, depois = (conferidos[int(passo) + mais, regras, 1.0] for mais in (0, 1))
    assert antes and not any(antes.values()) and all(depois.values()), (antes, depois)


@pytest.mark.demorado
def test_as_regras_da_pagina():
    """As regras que a página diz que valem em cada passo são as que o conferidor vê."""
    assert pagina.com_as_regras(TEXTO, pagina.conferir_todos()) == TEXTO


@pytest.mark.demorado
@pytest.mark.parametrize("passo", sintoma.SINTOMAS)
def test_o_sintoma_de_quem_nao_le_ou_nao_fala(passo):
    """O passo anterior mostra o sintoma, e o seguinte já não."""
    vistos = []
    for qual in passo - 1, passo:
        with sintoma.no_ar(qual) as porta:
            vistos.append(sintoma.SINTOMAS[passo](porta))
    assert re.search("não lê nada|ainda está lá", vistos[0]) and re.search("lê 'NOME:'|desconectou", vistos[1]), vistos
