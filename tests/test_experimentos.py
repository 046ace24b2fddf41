"""Os experimentos da aula: cada um tem de mostrar o erro e o conserto, sempre."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import filas
import protocolo
import servidor

PASTA = Path(__file__).parent.parent / "docs" / "experimentos"
EXPERIMENTOS = sorted(arquivo.stem for arquivo in PASTA.glob("0*.py"))
DEMORADOS = {"07_comboio_da_gil"}
PRAZO = 60  # segundos
AMBIENTE = os.environ | {"PYTHONIOENCODING": "utf-8"}


def iniciar(*argumentos):
    """Um programa que roda sozinho, de outra pasta que não a do projeto."""
    saida = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    return subprocess.Popen([sys.executable, *argumentos], cwd=PASTA.parent, env=AMBIENTE, **saida)


def iniciar_experimento(nome):
    return iniciar(str(PASTA / f"{nome}.py"))


@pytest.fixture(scope="module")
def rodando():
    """Os rápidos, todos ao mesmo tempo: um não pode depender de ter a máquina só para si."""
    with contextlib.ExitStack() as pilha:
        rapidos = [nome for nome in EXPERIMENTOS if nome not in DEMORADOS]
        processos = {nome: pilha.enter_context(iniciar_experimento(nome)) for nome in rapidos}
        yield processos
        for processo in processos.values():
            processo.kill()


def conferir(processo, codigo=0):
    """Espera que o programa acabe, com este código e sem um traceback; devolve o que ele mostrou."""
    try:
        saida, _ = processo.communicate(timeout=PRAZO)
    finally:
        processo.kill()  # o que não acabou no prazo prenderia também o teste
    assert processo.returncode == codigo, saida
    assert "Traceback" not in saida
    return saida


def test_sao_sete():
    """Nenhum experimento ficou de fora por causa do nome."""
    assert len(EXPERIMENTOS) == 7


@pytest.mark.parametrize("experimento", [nome for nome in EXPERIMENTOS if nome not in DEMORADOS])
def test_experimento(rodando, experimento):
    """O experimento mostra o erro, depois o conserto, e aponta um lugar do projeto que existe."""
    saida = conferir(rodando[experimento])
    assert 0 < saida.index("ERRADO") < saida.index("CERTO") < saida.index("No projeto: ")
    modulos = {"filas.py": filas, "protocolo.py": protocolo, "servidor.py": servidor}
    no_projeto = saida.partition("No projeto: ")[2]
    citados = [modulos[nome] for nome in re.findall(r"\w+\.py", no_projeto)]
    assert citados
    for classe, membro in re.findall(r"\b([A-Z]\w+)\.(\w+)", no_projeto):
        donos = [getattr(modulo, classe) for modulo in citados if hasattr(modulo, classe)]
        assert donos and (hasattr(donos[0], membro) or hasattr(donos[0](), membro)), f"{classe}.{membro}"


def test_quem_nao_viu_o_que_afirma():
    """O experimento que não viu o que afirma diz o quê e acaba com código 1, mesmo com uma thread parada."""
    programa = f"import sys, threading; sys.path.insert(0, {str(PASTA)!r}); from experimento import comecar, conferir;"
    with iniciar("-c", programa + "comecar(threading.Event().wait); conferir(False, 'a trava presa')") as processo:
        assert conferir(processo, codigo=1) == "Não se viu o que se esperava: a trava presa.\n"


@pytest.mark.demorado
@pytest.mark.parametrize("experimento", sorted(DEMORADOS))
def test_experimento_demorado(experimento):
    """O que mede roda até o fim e mostra o que mediu, seja o que for."""
    with iniciar_experimento(experimento) as processo:
        assert "No projeto: " in conferir(processo) or sys.platform != "linux"
