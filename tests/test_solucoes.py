"""As soluções dos exercícios: cada uma faz o que o exercício pede, contra o projeto de verdade."""

import contextlib
import importlib
import io
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from participante import FECHOU, PRAZO, Anfitriao
from test_protocolo import CASOS, DO_SERVIDOR, casos, cortar, em_pedacos

from atendimento import filas, identificacao
from protocolo import NAO_UTF8, Aviso, Entrada, Fim, Json, LinhaLonga, Mensagem, Texto, Tipo

DOCS = Path(__file__).parent.parent / "docs"
NOSSAS = DOCS / "solucoes"
MINHAS = DOCS.parent / "minhas"  # as de quem estuda, que pode pô-las em outra pasta
SOLUCOES = Path(os.environ.get("FILA_SOLUCOES") or (MINHAS if MINHAS.is_dir() else NOSSAS)).resolve()


@pytest.fixture
def solucao(request, monkeypatch):
    """O módulo da solução que o teste confere: o de `test_s02_separador` é `s02_separador.py`."""
    monkeypatch.syspath_prepend(str(SOLUCOES))  # o que elas mudam no caminho de busca também é desfeito
    return importlib.import_module(arquivo_de(request.node.name[5:8]).stem)


def arquivo_de(solucao: str) -> Path:
    """Onde está `s02`; quem ainda não a fez, ou lhe deu outro nome, fica sabendo."""
    (nosso,) = NOSSAS.glob(f"{solucao}_*.py")
    arquivo = SOLUCOES / nosso.name
    return arquivo if arquivo.exists() else pytest.skip(f"não há {nosso.name} em {SOLUCOES.name}")


@contextlib.contextmanager
def em_thread(alvo, *args):
    """Roda `alvo` em outra thread, e espera que acabe."""
    thread = threading.Thread(target=alvo, args=args, daemon=True)
    thread.start()
    yield thread
    thread.join(PRAZO)
    assert not thread.is_alive()


def test_cada_exercicio_tem_a_sua_solucao_e_o_seu_teste():
    """Cada um tem todas as partes, do mais fácil ao mais difícil, e aponta um arquivo e um teste que existem."""
    texto = (DOCS / "exercicios.md").read_text(encoding="utf-8")
    citados = re.findall(r"\[solução\]\(solucoes/(s\d\d_\w+\.py)\)", texto)
    assert len(citados) >= 12 and citados == sorted(arquivo.name for arquivo in NOSSAS.glob("s*.py"))
    for parte in "\n## ", "\n**Escreva** ", "\n**Acertou se**":
        assert texto.count(parte) == len(citados), parte
    niveis = re.findall(r"^\*(Fácil|Médio|Difícil|Desafio), cerca de .*\.\*$", texto, re.MULTILINE)
    assert len(niveis) == len(citados) and niveis == sorted(niveis, key=("Fácil", "Médio", "Difícil", "Desafio").index)
    assert re.findall(r"^\*\*Escreva\*\* `minhas/(\w+\.py)`", texto, re.MULTILINE) == citados
    assert {arquivo[:3] for arquivo in citados} == {nome[5:8] for nome in globals() if re.match(r"test_s\d", nome)}


def test_s01_nc(servidor):
    """O que se digita chega ao servidor, e o que ele diz aparece, até o fim da conversa."""
    ana = servidor.atendente("Ana", "FILA:OK")
    comando = [sys.executable, str(arquivo_de("s01")), *map(str, servidor.endereco)]
    with subprocess.Popen(comando, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as programa:
        programa.stdin.write("CLIENTE\nYuri\nolá\n".encode())
        programa.stdin.close()
        ana.espera("CONECTADO:Yuri", "[Yuri]: olá")
        assert programa.stdout.read().decode() == "NOME:\nCONECTADO:Ana\n"
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.")


# O projeto também limpa o texto; estes casos são só de enquadramento.
DE_LIMPEZA = re.compile("bom|controle|escape|tab|unicode|bidi|cr-|so-espacos")
SEM_LIMPEZA = {nome: caso for nome, caso in CASOS.items() if not DE_LIMPEZA.search(nome)}


@em_pedacos
@casos("dados, esperado", SEM_LIMPEZA)
def test_s02_separador(solucao, dados, esperado, tamanho):
    """As mesmas linhas, venham os bytes em pedaços de que tamanho vierem."""
    separador = solucao.Separador()
    assert [linha for pedaco in cortar(dados, tamanho) for linha in separador.alimentar(pedaco)] == [
        linha for linha in esperado if linha is not NAO_UTF8
    ]
    assert len(separador.resto) < 4096


def test_s03_robo(solucao, abrir_servidor):
    """O robô cumprimenta, responde, encerra quando se despedem dele e atende o seguinte."""
    servidor = abrir_servidor(departamentos=("Vendas",))
    with contextlib.closing(socket.create_connection(servidor.endereco)) as sock:
        with em_thread(solucao.atender, sock):
            for nome in ("Yuri", "Bia"):
                cliente = servidor.conecta(nome)
                cliente.envia("CLIENTE:Vendas", nome)
                cliente.le_ate(f"[Robô]: Olá, {nome}! Sou um robô.")
                cliente.envia("qual o HORÁRIO?", "e o clima?", "tchau")
                cliente.espera("[Robô]: Atendemos das 8h às 18h.")
                cliente.espera("[Robô]: Não entendi. Posso falar de horário ou preço.")
                cliente.espera("FIM:Atendimento encerrado. O atendente Robô encerrou a conversa.", FECHOU)
            # Só a escrita: o `FILA:OK` que ainda vem, achando a leitura fechada, viraria um RST.
            sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("nodelay", [False, True], ids=["com Nagle", "sem Nagle"])
def test_s04_ida_e_volta(solucao, nodelay):
    """Mede-se cada mensagem, e todas voltam inteiras; quanto levam não é assunto de teste."""
    tempos = solucao.ida_e_volta(3, nodelay)
    assert len(tempos) == 3 and all(tempo > 0 for tempo in tempos)


def test_s05_comando_novo(solucao, servidor, monkeypatch):
    """`HORA:` é respondido com um aviso, não vira mensagem, e o resto continua igual."""
    monkeypatch.setattr(Texto, "_DO_PARTICIPANTE", solucao.FORMAS_NO_FIO)
    monkeypatch.setattr(filas, "PASSOS", solucao.PASSOS)
    yuri, ana = servidor.par()
    yuri.envia("HORA:", "HORA: extra")
    assert re.fullmatch(r"AVISO:São \d\dh\d\d\.", yuri.linha())
    ana.espera("[Yuri]: HORA: extra")


class Leitor(filas.Participante):
    """Quem guarda as linhas que as filas lhe contam: as que já foram entregues, e as que só estão na caixa."""

    def __init__(self, as_filas, nome, tipo=Tipo.CLIENTE):
        super().__init__()
        self.linhas, self.caixa = [], []
        as_filas.admitir(self)
        as_filas.entrar(self, tipo, nome)

    def por_na_caixa(self, comandos):
        self.caixa += b"".join(Texto().codificar(comando) for comando in comandos if comando).decode().splitlines()

    def entregar(self, comandos):
        self.por_na_caixa(comandos)
        self.linhas, self.caixa = self.linhas + self.caixa, []


def test_s06_prioridade(solucao):
    """O prioritário passa à frente dos outros, atrás dos prioritários, e todos sabem a sua posição."""
    as_filas = solucao.FilasComPrioridade(prioritario=lambda cliente: cliente.nome.startswith("Dona"))
    todos = [Leitor(as_filas, nome) for nome in ("Yuri", "Dona Rosa", "Bia", "Dona Lia")]
    assert [cliente.nome for cliente in as_filas.fila_clientes] == ["Dona Rosa", "Dona Lia", "Yuri", "Bia"]
    assert as_filas.posicoes_mudaram  # o carteiro vai publicá-las
    as_filas.publicar_posicoes()
    assert [(cliente.linhas + cliente.caixa)[-1] for cliente in todos] == ["FILA:3", "FILA:1", "FILA:4", "FILA:2"]
    assert Leitor(as_filas, "Ana", Tipo.ATENDENTE).linhas == ["CONECTADO:Dona Rosa"]


def test_s07_limite(solucao):
    """Passa já o que cabe no balde, o resto é recusado na hora, e com o tempo volta a caber."""
    agora, devagar = [0.0], "AVISO:Devagar: a mensagem não foi enviada."
    as_filas = solucao.FilasComLimite(balde=lambda: solucao.Balde(3, 1.0, lambda: agora[0]))
    ana, yuri = Leitor(as_filas, "Ana", Tipo.ATENDENTE), Leitor(as_filas, "Yuri")
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", list("abcde"))) is ana
    assert ana.linhas[2:] == ["[Yuri]: a", "[Yuri]: b", "[Yuri]: c"] and yuri.linhas[1:] == [devagar]
    agora[0] = 1.5
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", ["f"])) is ana
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", ["g"])) is yuri
    agora[0] = 1000.0
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", list("hij"))) is ana
    assert ana.linhas[5:] == ["[Yuri]: f", "[Yuri]: h", "[Yuri]: i", "[Yuri]: j"] and yuri.linhas[2:] == [devagar]
    as_filas.sair(yuri)
    assert not as_filas.baldes


def test_s08_proxy(solucao, servidor):
    """O proxy deixa passar tudo nos dois sentidos, também o fim do fluxo, e vê cada pedaço."""
    visto = {"->": b"", "<-": b""}

    def ver(sentido, dados):
        visto[sentido] += dados

    with solucao.Proxy(0, servidor.endereco[:2], ver) as proxy, em_thread(proxy.serve_forever, 0.005):
        yuri = Anfitriao(proxy.server_address).cliente("Yuri", "FILA:1")
        ana = servidor.atendente("Ana", "CONECTADO:Yuri")
        yuri.envia("olá")
        ana.espera("[Yuri]: olá")
        yuri.espera("CONECTADO:Ana")
        yuri.para_de_escrever()
        ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.")
        yuri.espera(FECHOU)
        yuri.fecha()
        proxy.shutdown()
    assert visto == {"->": "CLIENTE\nYuri\nolá\n".encode(), "<-": b"NOME:\nFILA:1\nCONECTADO:Ana\n"}


def test_s08_proxy_que_perde_um_lado(solucao):
    """O lado que cai leva o outro consigo, ainda que a outra bomba esteja parada no `recv`."""
    with contextlib.ExitStack() as pilha:
        (cliente, de), (para, destino) = (map(pilha.enter_context, socket.socketpair()) for _ in range(2))
        # Um `recv` parado é outra referência ao socket: enquanto houver uma, `close` não diz nada a ninguém.
        for parado in de, para:
            pilha.enter_context(parado.dup())
        cliente.send(b"x")
        solucao.bombear(de, para, Mock(side_effect=ConnectionResetError))
        for lado in cliente, destino:
            lado.settimeout(PRAZO)
            assert lado.recv(1) == b""


def test_s09_formato_csv(solucao, servidor, monkeypatch):
    """O que se codifica é o que se lê, e uma conexão no formato novo conversa com uma em texto."""
    formato = solucao.Virgulas
    for comando, _ in DO_SERVIDOR.values():
        linhas = formato("Yuri").codificar(comando).decode().split("\n")[:-1]
        assert formato().ler_servidor(linhas) == [comando]
    lidos = formato("Y").ler_participante(['mensagem,"a, ""b"""', "mensagem, ", "", "  ", "fim", "x,y", None])
    assert lidos == [Mensagem("Y", ['a, "b"']), Fim(), Aviso("Não entendi: x,y"), LinhaLonga()]
    assert formato().ler_entrada("cliente") == Entrada(Tipo.CLIENTE)
    with pytest.raises(ValueError, match="Resposta inválida"):
        formato().ler_resposta("nome", "")
    for inicio, esperado in (b"c", formato), (b"atendente\n", formato), (b"C", Texto), (b"{", Json):
        assert type(solucao.formato_de(inicio)) is esperado
    monkeypatch.setattr(identificacao, "formato_de", solucao.formato_de)
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    yuri.envia("cliente", "nome,Yuri", 'mensagem,"oi, tudo?"')
    yuri.espera("nome", "conectado,Ana")
    ana.espera("CONECTADO:Yuri", "[Yuri]: oi, tudo?")
    ana.envia("tudo, e você?")
    yuri.espera('mensagem,Ana,"tudo, e você?"')


def test_s10_achar_o_defeito(solucao):
    """O explorador conta como se chega ao defeito, e não vê nenhum onde não há."""
    queixa, historia = solucao.historia_do_defeito(solucao.FilasComDefeito).split("\n")
    assert queixa and "'admitir'" in historia
    assert solucao.historia_do_defeito(filas.Filas) is None


REGISTRO = """\
momento,conversa,departamento,evento,de,para,texto
2026-11-24T10:00:00.000-03:00,x-1,Vendas,inicio,Yuri,Ana,
2026-11-24T10:00:01.000-03:00,x-1,Vendas,mensagem,Yuri,Ana,"oi, tudo?"
2026-11-24T10:00:05.000-03:00,x-2,Vendas,inicio,Bia,Caio,
2026-11-24T10:01:30.500-03:00,x-1,Vendas,fim,Ana,Yuri,O atendente Ana encerrou a conversa.
2026-11-24T10:02:00.000-03:00,x-2,Ven
"""


def test_s11_ler_o_registro(solucao):
    """As conversas são reconstruídas, com a duração das que acabaram; a linha partida não atrapalha."""
    conversas = solucao.ler(io.StringIO(REGISTRO))
    primeira, segunda = conversas.values()
    assert (primeira.cliente, primeira.atendente, primeira.falas) == ("Yuri", "Ana", [("Yuri", "oi, tudo?")])
    assert (primeira.segundos, segunda.segundos) == (90.5, None)
    assert solucao.medias(conversas.values()) == {"Vendas": 90.5}


def test_s12_uma_thread_so(solucao):
    """Com uma thread só, a mesma conversa: identificação, fila, mensagens aos pedaços e fim."""
    de_um_so = solucao.Servidor(0)
    with em_thread(de_um_so.servir):
        sala = Anfitriao(de_um_so.ouvinte.getsockname())
        yuri, bia = sala.cliente("Yuri", "FILA:1"), sala.cliente("Bia", "FILA:2")
        ana = sala.atendente("Ana", "CONECTADO:Yuri")
        yuri.espera("CONECTADO:Ana")
        bia.espera("FILA:1")
        for byte in "olá 😀\n".encode():
            yuri.envia(bytes([byte]))
        ana.espera("[Yuri]: olá 😀")
        ana.envia("x" * 5000, "FIM:")
        ana.espera("AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada.")
        ana.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", "CONECTADO:Bia")
        yuri.espera("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.", FECHOU)
        ana.fecha()
        bia.espera("CONECTADO:Ana", "FIM:Atendimento encerrado. O atendente Ana desconectou.", FECHOU)
        invalido = sala.conecta()
        invalido.envia("GERENTE")
        invalido.espera("FIM:Tipo inválido: envie CLIENTE ou ATENDENTE.", FECHOU)
        de_um_so.parar()
    sala.fecha_participantes()


@pytest.mark.skipif(SOLUCOES != NOSSAS, reason="os eventos são os da nossa")
def test_s12_eventos_que_chegam_tarde(solucao):
    """O que o `select` anunciou pode já não valer: quem ia ser aceito desistiu, e quem ia ser lido foi fechado."""
    de_um_so = solucao.Servidor(0)
    de_um_so.aceitar(selectors.EVENT_READ)
    assert not de_um_so.conexoes
    with socket.create_connection(de_um_so.ouvinte.getsockname()):
        de_um_so.seletor.select(PRAZO)
        de_um_so.aceitar(selectors.EVENT_READ)
    (quem,) = de_um_so.conexoes
    de_um_so.fechar(quem)
    de_um_so.acontecer(quem, selectors.EVENT_READ)
    de_um_so.encerrar()


@pytest.mark.parametrize("ataque", ["linha_sem_fim", "mudo", "enxurrada_de_conexoes", "impostor", "json_fundo"])
def test_s13_ataques(solucao, abrir_servidor, ataque):
    """Durante e depois do ataque, quem conversa não percebe."""
    servidor = abrir_servidor(prazo_identificacao=0.2, prazo_envio=0.3)
    yuri, ana = servidor.par()
    with em_thread(getattr(solucao, ataque), servidor.endereco[:2]):
        for numero in range(100):
            yuri.envia(f"{numero}")
            ana.espera(f"[Yuri]: {numero}")
    yuri.envia("depois")
    ana.espera("[Yuri]: depois")
