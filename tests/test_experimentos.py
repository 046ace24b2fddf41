"""Os experimentos da aula: cada um tem de mostrar o erro e o conserto, sempre."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_documentos import nomes_de

PASTA = Path(__file__).parent.parent / "docs" / "experimentos"
EXPERIMENTOS = sorted(arquivo.stem for arquivo in PASTA.glob("0*.py"))
DEMORADO = "05_comboio_da_gil"
RAPIDOS = [nome for nome in EXPERIMENTOS if nome != DEMORADO]
COM_SETAS = ["comparar_formatos.py", "escalonador.py", "conferir.py --regras", "desempenho.py --ajuda"]


def rodar(*argumentos, codificacao="utf-8"):
    """Roda um programa sozinho, de outra pasta que não a do projeto."""
    saida = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": codificacao}
    ambiente = os.environ | {"PYTHONIOENCODING": codificacao}
    return subprocess.run([sys.executable, *argumentos], cwd=PASTA.parent, env=ambiente, timeout=60, **saida)


def conferir(rodado, codigo=0):
    """O programa acabou com este código e sem um traceback; devolve o que ele mostrou."""
    assert rodado.returncode == codigo and "Traceback" not in rodado.stdout, rodado.stdout
    return rodado.stdout


@pytest.fixture(scope="module")
def rodados():
    """Os rápidos, e os que escrevem setas num console do Windows, todos ao mesmo tempo.

    Um experimento não pode depender de ter a máquina só para si.
    """
    assert len(EXPERIMENTOS) == 5  # nenhum ficou de fora por causa do nome
    with ThreadPoolExecutor(len(RAPIDOS) + len(COM_SETAS)) as todos:
        rodando = {nome: todos.submit(rodar, PASTA / f"{nome}.py") for nome in RAPIDOS}
        for programa in COM_SETAS:
            nome, *opcoes = programa.split()
            rodando[programa] = todos.submit(rodar, PASTA.parent / nome, *opcoes, codificacao="cp1252")
    return {nome: rodado.result() for nome, rodado in rodando.items()}


@pytest.mark.parametrize("experimento", RAPIDOS)
def test_experimento(rodados, experimento):
    """O experimento mostra o erro, depois o conserto, e aponta um lugar do projeto que existe."""
    saida = conferir(rodados[experimento])
    assert 0 < saida.index("ERRADO") < saida.index("CERTO") < saida.index("No projeto: ")
    no_projeto = saida.partition("No projeto: ")[2]
    existem = set().union(*map(nomes_de, re.findall(r"[\w/]+\.py", no_projeto)))
    citados = re.findall(r"\b[A-Z]\w+\.\w+|(?<=a classe )\w+", no_projeto)
    assert citados and set(citados) <= existem


def test_quem_nao_viu_o_que_afirma():
    """O experimento que não viu o que afirma diz o quê e acaba com código 1, mesmo com uma thread parada."""
    programa = f"import sys, threading; sys.path.insert(0, {str(PASTA)!r}); from experimento import comecar, conferir;"
    rodado = rodar("-c", programa + "comecar(threading.Event().wait); conferir(False, 'a trava presa')")
    assert conferir(rodado, codigo=1) == "Não se viu o que se esperava: a trava presa.\n"


@pytest.mark.demorado
def test_experimento_demorado():
    """O que mede roda até o fim e mostra o que mediu, seja o que for."""
    assert "No projeto: " in conferir(rodar(PASTA / f"{DEMORADO}.py")) or sys.platform != "linux"


@pytest.mark.parametrize("programa", COM_SETAS)
def test_um_console_do_windows(rodados, programa):
    """O que a saída não sabe escrever vira `?`, e não um traceback."""
    conferir(rodados[programa])
