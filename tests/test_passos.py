"""Os passos: cada um cabe num projetor, conserta o que diz consertar, e a página fala deles como são."""

import ast
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from participante import PRAZO
from test_experimentos import conferir, rodar

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "passos"))

import pagina  # noqa: E402
import sintoma  # noqa: E402

TEXTO = pagina.PAGINA.read_text(encoding="utf-8")
SINTOMAS = re.findall(r"conferir\.py --so (\S+) --comando .*passo(\d)\.py", TEXTO)
"""As regras que a página manda conferir, e em que passo: o anterior àquele que o conserta."""
PESADAS = {"rede-mil-con", "rede-nao-le"}


def test_a_pagina_esta_em_dia():
    """Os diffs da página são os dos arquivos, e há um para cada passo."""
    assert pagina.com_os_diffs(TEXTO) == TEXTO
    assert re.findall(r"<!-- (?:diff|tabela) (\d) -->", TEXTO) == [str(passo) for passo in pagina.PASSOS]


@pytest.mark.parametrize("passo", pagina.PASSOS)
def test_um_passo_cabe_no_projetor(passo):
    """Um passo tem no máximo 130 linhas, e só importa a biblioteca padrão."""
    programa = (pagina.PASTA / f"passo{passo}.py").read_text(encoding="utf-8")
    assert len(programa.splitlines()) <= 130
    importados = {nome.name for no in ast.parse(programa).body if isinstance(no, ast.Import) for nome in no.names}
    assert importados <= sys.stdlib_module_names and not re.search(r"^from ", programa, re.MULTILINE)


@pytest.mark.parametrize("passo", [pagina.PASSOS[0], pagina.PASSOS[-1]])
def test_a_porta_que_nao_serve(passo):
    """A porta ocupada, ou que não é uma porta, custa uma frase e código 1."""
    for porta, frase in ("abc", "python docs/passos 0"), ("99999", "até a 65535"):
        assert frase in conferir(rodar(pagina.PASTA, str(passo), "--porta", porta), codigo=1)
    with socket.create_server(("", 0)) as ocupada:
        porta = str(ocupada.getsockname()[1])
        assert "já está em uso" in conferir(rodar(pagina.PASTA, str(passo), "--porta", porta), codigo=1)


@pytest.mark.skipif(os.name == "nt", reason="lá não se manda um Ctrl+C a outro programa")
@pytest.mark.parametrize("passo", [pagina.PASSOS[0], pagina.PASSOS[-1]])
def test_o_ctrl_c_encerra_o_passo(passo):
    """Mesmo com alguém conectado, e sem um traceback."""
    with socket.create_server(("", 0)) as livre:
        porta = livre.getsockname()[1]
    comando = [sys.executable, str(pagina.PASTA), str(passo), "--porta", str(porta)]
    with subprocess.Popen(comando, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as no_ar:
        with sintoma.conectar(porta, "CLIENTE") as alguem:
            sintoma.ler_ate(alguem, b"NOME:")
            no_ar.send_signal(signal.SIGINT)
            assert no_ar.wait(PRAZO) and not no_ar.stderr.read()


def conferir_os_sintomas(escolher):
    """As regras dos sintomas escolhidos, no passo que tem o defeito e no que o conserta."""
    sintomas = [(int(passo), regras) for regras, passo in SINTOMAS if escolher(regras)]
    with ThreadPoolExecutor(2 * len(sintomas)) as todos:
        antes = [todos.submit(pagina.conferir, passo, regras, prazo=0.5) for passo, regras in sintomas]
        depois = [todos.submit(pagina.conferir, passo + 1, regras, prazo=PRAZO) for passo, regras in sintomas]
    for (passo, _), falham, valem in zip(sintomas, antes, depois, strict=True):
        assert not any(falham.result().values()), passo
        assert valem.result() and all(valem.result().values()), passo + 1


@pytest.mark.skipif(os.name == "nt", reason="o que close e um RST fazem a quem lê muda de um sistema para outro")
def test_o_sintoma_e_o_conserto():
    """As regras que a página manda conferir falham todas no passo anterior, e valem todas no seguinte."""
    assert {passo for _, passo in SINTOMAS} == {"0", "1", "2", "3"}
    conferir_os_sintomas(lambda regras: regras not in PESADAS)


@pytest.mark.demorado
def test_o_sintoma_e_o_conserto_com_muita_gente():
    """O mesmo, com mil conexões e com quem não lê."""
    conferir_os_sintomas(PESADAS.__contains__)


@pytest.mark.demorado
def test_as_regras_da_pagina():
    """As regras que a página diz que valem em cada passo são as que o conferidor vê."""
    notas = pagina.conferir_todos()
    assert pagina.com_as_regras(TEXTO, notas) == TEXTO
    mudam = [str(passo) for passo in pagina.PASSOS if pagina.regras(passo, notas)]
    assert re.findall(r"<!-- regras (\d) -->", TEXTO) == mudam


@pytest.mark.demorado
@pytest.mark.parametrize("passo", sintoma.SINTOMAS)
def test_o_sintoma_de_quem_nao_le_ou_nao_fala(passo):
    """O passo anterior mostra o sintoma, e o seguinte já não."""
    vistos = []
    for qual in passo - 1, passo:
        with sintoma.no_ar(qual) as porta:
            vistos.append(sintoma.SINTOMAS[passo](porta))
    assert re.search("não lê nada|ainda está lá", vistos[0]) and re.search("lê 'NOME:'|desconectou", vistos[1]), vistos
